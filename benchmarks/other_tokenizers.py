"""Race tokenizers: learning, encoding, decoding and splitting, and that time grows linearly.

Every engine gets the same text, the same pattern and, to encode and decode, the same vocabulary, and must
give the same ids. tiktoken, Hugging Face's tokenizers and rustbpe each run their fastest function.
"""

import json
import os
from collections.abc import Callable, Iterator
from functools import partial

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


def tokenizer(quick: bool, data: str = "stdlib-code") -> Iterator[Race]:
    """Yield races on a text in documents of 256 KiB, then hostile texts, each beside the half of it.

    There a time of 2 is linear.
    """
    texts = documents(data, 1_000_000 if quick else None)
    arguments = texts, VOCABULARY, PATTERN
    learners = {"tinyllm": train_ours, "rustbpe": train_rustbpe, "huggingface": train_huggingface}
    engines = {name: partial(learner, train, *arguments) for name, train in learners.items()}
    yield {"task": "learn"}, engines
    for n in dict.fromkeys((1, threads())):
        engines = {name: partial(encoder, *arguments, name) for name in ENGINES}
        yield {"task": "encode", "threads": n}, engines
    engines = {name: partial(decoder, *arguments, name) for name in ENGINES}
    yield {"task": "decode", "threads": 1}, engines
    yield {"task": "split", "threads": 1}, {"tinyllm": partial(splitter, texts, _our_pieces),
                                            "regex": partial(splitter, texts, _regex_pieces)}
    for kind, text in hostile_texts("".join(texts).encode(), 100_000 if quick else 1_000_000).items():
        halves = {"half": text[: len(text) // 8 * 4], "whole": text}  # between characters of four bytes
        trained = BPETokenizer.train(text, VOCABULARY, PATTERN)
        for task, make in (("learn", partial(BPETokenizer.train, vocab_size=VOCABULARY, pattern=PATTERN)),
                           ("encode", trained.encode_to_numpy)):
            runs = {name: partial(Contender, partial(make, half)) for name, half in halves.items()}
            yield {"task": task, "text": kind}, runs


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


def encoder(texts: list[str], vocab_size: int, pattern: str, engine: str) -> Contender:
    """Return the encoding of texts to time; its answer is the ids, with -1 behind each text."""
    encode, _ = ENGINES[engine](BPETokenizer.train(texts, vocab_size, pattern))
    return Contender(partial(encode, texts), amounts=_amounts(texts),
                     answer=lambda: np.concatenate([[*row, -1] for row in encode(texts)]))


def decoder(texts: list[str], vocab_size: int, pattern: str, engine: str) -> Contender:
    """Return the decoding of the ids of texts to time; its answer is the texts' bytes."""
    ours = BPETokenizer.train(texts, vocab_size, pattern)
    _, decode = ENGINES[engine](ours)
    ids = ours.encode_batch(texts)

    def run():
        return [decode(row) for row in ids]

    return Contender(run, amounts=_amounts(texts), answer=lambda: np.frombuffer(b"".join(run()), np.uint8))


# Splitting


def _our_pieces(texts):
    return [split_pieces(text.encode(), PATTERN) for text in texts]


def _regex_pieces(texts):
    return list(map(regex.compile(PATTERNS[PATTERN]).findall, texts))


def splitter(texts: list[str], split: Callable) -> Contender:
    """Return the splitting of texts into pieces to time."""
    return Contender(partial(split, texts), amounts=_amounts(texts))
