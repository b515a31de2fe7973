"""Race tokenizers: learning, encoding, decoding and splitting, and that time grows linearly.

Every engine gets the same text, the same pattern and, to encode and decode, the same vocabulary, and must
give the same ids. tiktoken, Hugging Face's tokenizers and rustbpe each run their fastest function.
"""

import json
import os
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import regex

from tinyllm.bench.race import Contender
from tinyllm.bench.rows import Race
from tinyllm.data import load_corpus
from tinyllm.errors import UserError
from tinyllm.ops.pieces import split_pieces
from tinyllm.ops.runtime import threads
from tinyllm.tokenizer import PATTERNS, BPETokenizer
from tinyllm.tokenizer.vocabulary import Vocabulary

PATTERN, VOCABULARY = "gpt4", 8192
DOCUMENT = 2**18  # bytes: many documents keep all threads busy
LANGUAGES = ["ar", "bn", "cs", "de", "el", "es", "fa", "fi", "fr", "he", "hi", "hu", "it", "ja", "ko", "pl",
             "pt_BR", "ru", "ta", "te", "th", "tr", "uk", "vi", "zh_CN"]


def tokenizer(quick: bool, data: str = "stdlib-code") -> Iterator[Race]:
    """Yield races on a text in documents of 256 KiB, then hostile texts, each beside the half of it.

    There a time of 2 is linear.
    """
    texts = documents(data, 1_000_000 if quick else None)
    arguments = texts, VOCABULARY, PATTERN
    learners = {"tinyllm": train_ours, "rustbpe": train_rustbpe, "huggingface": train_huggingface}
    engines = {name: partial(learner, train, *arguments) for name, train in learners.items()}
    yield {"task": "learn"}, engines, True
    for n in dict.fromkeys((1, threads())):
        engines = {name: partial(encoder, *arguments, name) for name in ENGINES}
        yield {"task": "encode", "threads": n}, engines, True
    engines = {name: partial(decoder, *arguments, name) for name in ENGINES}
    yield {"task": "decode", "threads": 1}, engines, True
    yield {"task": "split", "threads": 1}, {"tinyllm": partial(splitter, texts, _our_pieces),
                                            "regex": partial(splitter, texts, _regex_pieces)}, False
    for kind, text in hostile_texts("".join(texts).encode(), 100_000 if quick else 1_000_000).items():
        halves = {"half": text[: len(text) // 8 * 4], "whole": text}  # between characters of four bytes
        trained = BPETokenizer.train(text, VOCABULARY, PATTERN)
        for task, make in (("learn", partial(BPETokenizer.train, vocab_size=VOCABULARY, pattern=PATTERN)),
                           ("encode", trained.encode_to_numpy)):
            runs = {name: partial(Contender, partial(make, half)) for name, half in halves.items()}
            yield {"task": task, "text": kind}, runs, False


def languages(quick: bool, data: str = "/usr/share/locale") -> Iterator[Race]:
    """Yield races of one thread on the translated messages of GTK, as Linux distributions install them.

    For each pattern a tokenizer learns 16,384 tokens from all of them. Each message by itself must have the
    same ids everywhere; then the messages of a language, all of them and "hello world" are encoded as one
    text. `data` is the folder of files such as de/LC_MESSAGES/gtk30.mo.
    """
    texts = {language: messages(Path(data), language) for language in LANGUAGES[: 2 if quick else None]}
    if lacking := [language for language, found in texts.items() if not found]:
        raise UserError(f"{data} has no messages of GTK in {', '.join(lacking)}: give a folder with --data")
    every = [text for found in texts.values() for text in found]
    joined = {language: "\n".join(found) for language, found in texts.items()}
    joined |= {"all": "\n".join(every), "hello world": "hello world"}
    for pattern in ("gpt2", "gpt4", "o200k"):
        learn_from = every, 16384, pattern
        for text, parts in {f"{len(every)} messages": every, **{k: [v] for k, v in joined.items()}}.items():
            engines = {name: partial(encoder, *learn_from, name, parts) for name in ENGINES}
            yield {"task": pattern, "text": text, "threads": 1}, engines, True


def documents(name: str, most: int | None) -> list[str]:
    """Return a text in documents, cut at line ends."""
    data = load_corpus(name).data[:most]
    data = data[: data.rfind(b"\n") + 1] or data
    texts, start = [], 0
    while start < len(data):
        end = data.rfind(b"\n", start, start + DOCUMENT) + 1 or len(data)
        try:
            texts.append(data[start:end].decode())
        except UnicodeDecodeError:
            raise UserError(f"{name} is not UTF-8, as other libraries need it; choose other --data") from None
        start = end
    return texts


def hostile_texts(data: bytes, size: int) -> dict[str, bytes]:
    """Return {name: text} of texts on which some tokenizers are slow; `data` itself comes first."""
    solid = b"".join(data.split()) or b"x"
    emoji = np.random.default_rng(0).integers(0x1F600, 0x1F640, size // 4).tolist()
    return {
        "natural": data,
        "one letter": b"a" * size,
        "no spaces": (solid * (size // len(solid) + 1))[:size].decode("utf-8", "ignore").encode(),
        "alternating pairs": b"ab" * (size // 2),
        "emoji": "".join(map(chr, emoji)).encode(),
        "spaces": b" " * size,
    }


def messages(folder: Path, language: str) -> list[str]:
    """Return the messages in all catalogues of GTK in a language (.mo files: see GNU gettext's manual)."""
    found: dict[str, None] = {}
    for data in map(Path.read_bytes, sorted((folder / language / "LC_MESSAGES").glob("gtk*.mo"))):
        count, _, at = struct.unpack_from("<3I", data, 8)
        for size, place in struct.iter_unpack("<2I", data[at : at + 8 * count]):
            texts = data[place : place + size].decode().split("\0")  # several where numbers have forms
            found |= dict.fromkeys(text for text in texts if text and "\n" not in text)
    return list(found)


def _amounts(texts):
    return {"text": sum(len(text.encode()) for text in texts)}


# Learning


def learner(train: Callable, texts: list[str], vocab_size: int, pattern: str) -> Contender:
    """Return the learning of a vocabulary to time; its answer is how many tokens it can learn of 300."""
    os.environ["RAYON_NUM_THREADS"] = str(threads())  # Rust's libraries read it once, before their first work
    return Contender(partial(train, texts, vocab_size, pattern), amounts=_amounts(texts),
                     answer=lambda: np.array([train(texts[:1], 300, pattern)]))


def train_ours(texts: list[str], vocab_size: int, pattern: str) -> int:
    """Learn with tinyllm -> the size of the vocabulary."""
    return BPETokenizer.train(texts, vocab_size, pattern).vocab_size


def train_rustbpe(texts: list[str], vocab_size: int, pattern: str) -> int:
    """Learn with rustbpe (Karpathy, 2025) -> the size of the vocabulary."""
    import rustbpe

    new = rustbpe.Tokenizer()
    new.train_from_iterator(iter(texts), vocab_size, pattern=PATTERNS[pattern])
    return new.vocab_size


def train_huggingface(texts: list[str], vocab_size: int, pattern: str) -> int:
    """Learn with tokenizers -> the size of the vocabulary."""
    import tokenizers
    from tokenizers import models, pre_tokenizers, trainers

    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    new = tokenizers.Tokenizer(models.BPE())
    cut = json.dumps(BPETokenizer.train("", 256, pattern).to_dict())
    new.pre_tokenizer = tokenizers.Tokenizer.from_str(cut).pre_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    new.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=vocab_size, show_progress=False,
                                                       initial_alphabet=alphabet))
    return new.get_vocab_size()


# Encoding and decoding: a function of our tokenizer that returns (encode(texts), decode(ids of a text)).


def _tinyllm(ours):
    return ours.encode_batch, ours.decode_bytes


def _array(ours):
    return lambda texts: list(map(ours.encode_to_numpy, texts)), lambda ids: ours.decode_bytes(np.array(ids))


def _tiktoken(ours):
    import tiktoken

    ranks = ours.vocabulary.ids
    if Vocabulary.from_ranks(ranks) != ours.vocabulary:
        raise UserError("ranks would write some text in other tokens than this vocabulary")
    pattern = PATTERNS[ours.pattern]
    theirs = tiktoken.Encoding("ours", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})

    def encode(texts):
        if threads() == 1:
            return list(map(theirs.encode_ordinary, texts))
        return theirs.encode_ordinary_batch(texts, num_threads=threads())

    return encode, theirs.decode_bytes


def _huggingface(ours):
    import tokenizers

    theirs = tokenizers.Tokenizer.from_str(json.dumps(ours.to_dict()))

    def encode(texts):
        os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads() > 1 else "false"  # read at every call
        return [found.ids for found in theirs.encode_batch_fast(texts, add_special_tokens=False)]

    return encode, lambda ids: theirs.decode(ids, skip_special_tokens=False).encode()


ENGINES = {"tinyllm": _tinyllm, "array": _array, "tiktoken": _tiktoken, "huggingface": _huggingface}


def encoder(texts: list[str], vocab_size: int, pattern: str, engine: str,
            parts: list[str] | None = None) -> Contender:
    """Return the encoding of texts (by default those that were learnt from) to time."""
    os.environ["RAYON_NUM_THREADS"] = str(threads())
    encode, _ = ENGINES[engine](BPETokenizer.train(texts, vocab_size, pattern))
    parts = texts if parts is None else parts
    return Contender(partial(encode, parts), amounts=_amounts(parts), answer=lambda: flat(encode(parts)))


def decoder(texts: list[str], vocab_size: int, pattern: str, engine: str) -> Contender:
    """Return the decoding of the ids of texts to time; its answer is the texts' bytes."""
    ours = BPETokenizer.train(texts, vocab_size, pattern)
    _, decode = ENGINES[engine](ours)
    ids = ours.encode_batch(texts)

    def run():
        return [decode(row) for row in ids]

    return Contender(run, amounts=_amounts(texts), answer=lambda: np.frombuffer(b"".join(run()), np.uint8))


def flat(rows) -> np.ndarray:
    """Join rows of ids to one array, with -1 behind each."""
    return np.concatenate([[*row, -1] for row in rows])


# Splitting


def _our_pieces(texts):
    return [split_pieces(text.encode(), PATTERN) for text in texts]


def _regex_pieces(texts):
    return list(map(regex.compile(PATTERNS[PATTERN]).findall, texts))


def splitter(texts: list[str], split: Callable) -> Contender:
    """Return the splitting of texts into pieces to time."""
    return Contender(partial(split, texts), amounts=_amounts(texts))
