"""Time how tokenizers split, learn, encode and decode, and check that time and memory grow linearly.

`tinyllm bench tokenizer [--peers]` runs this. Every engine gets the same text, in documents of about 256 KiB,
the same pattern and, to encode and decode, the same vocabulary. Before anything is timed, all must give the
same ids and the same bytes. tiktoken, Hugging Face's tokenizers and rustbpe each run their fastest function:
tiktoken `encode_ordinary`, tokenizers `encode_batch_fast`, which keeps no offsets. One that is not installed
raises ImportError.
"""

import json
import os
from collections.abc import Iterator
from functools import partial
from importlib import metadata
from typing import NamedTuple

import numpy as np
import regex

from tinyllm.bench.memory import run_child
from tinyllm.bench.timing import Contender, compare
from tinyllm.data import load_corpus
from tinyllm.errors import UserError
from tinyllm.ops.pieces import split_pieces
from tinyllm.ops.runtime import threads
from tinyllm.tokenizer import PATTERNS, BPETokenizer
from tinyllm.tokenizer.vocabulary import Vocabulary
from tinyllm.train.memory import peak_rss_mb

PATTERN = "gpt4"
DOCUMENT = 2**18  # bytes: many documents keep all threads busy


class Scale(NamedTuple):
    """Sizes: bytes of the text (None: all of it), tokens to learn, bytes of each hostile text."""

    text: int | None
    vocab_size: int
    hostile: int


FULL = Scale(None, 8192, 1_000_000)
QUICK = Scale(1_000_000, 1024, 100_000)


def measure_tokenizer(name: str, scale: Scale, seconds: float, least: int = 3,
                      peers: bool = False) -> Iterator[dict]:
    """Measure tokenizers on the corpus or file `name`, yielding a record for each task and engine.

    Tasks: train, encode (with one thread, and with all), decode and split; `twice`, the time of 2n bytes
    divided by the time of n bytes; and the memory of training in a fresh process. Raises UserError when two
    engines give different results.
    """
    data, texts = _documents(name, scale.text)
    tokenizer = BPETokenizer.train(texts, scale.vocab_size, PATTERN)
    about = {"bench": "tokenizer", "bytes": len(data), "vocab_size": tokenizer.vocab_size}
    engines, trainers, missing = _peers(tokenizer) if peers else ({}, {}, [])
    yield from ({**about, **record} for record in missing)
    ours = tokenizer.encode_batch(texts)
    for engine in engines.values():
        _must_agree(engine, texts, ours)
    for task, n, runs in _tasks(tokenizer, texts, ours, engines, trainers, scale.vocab_size):
        before = threads()
        threads(n)
        records = list(_compare(runs, seconds, least, **about, task=task, threads=n))
        threads(before)
        yield from ({**record, "mb_per_second": len(data) / record["seconds"] / 1e6} for record in records)
    yield from ({**about, **record} for record in _twice(data, scale, seconds, least))
    yield about | _memory(name, scale)


def _documents(name: str, most: int | None) -> tuple[bytes, list[str]]:
    """Return a text as bytes, and as a list of documents, cut at line ends."""
    data = load_corpus(name).data[:most]
    data = data[: data.rfind(b"\n") + 1] or data
    texts, start = [], 0
    while start < len(data):
        end = data.rfind(b"\n", start, start + DOCUMENT) + 1 or len(data)
        try:
            texts.append(data[start:end].decode())
        except UnicodeDecodeError:
            raise UserError(f"{name} is not UTF-8, as peers need it; choose other --data") from None
        start = end
    return data, texts


def _peers(tokenizer):
    """Return other libraries' engines and trainers, and a record for each that is not installed."""
    os.environ["RAYON_NUM_THREADS"] = str(threads())  # Rust's libraries read it once, before their first work
    found, missing = ({}, {}), []
    for place, makers in zip(found, (ENGINES, TRAINERS), strict=True):
        for name, make in makers.items():
            try:
                place[name] = make(tokenizer)
            except (ImportError, UserError) as error:
                missing.append({"engine": name, "skipped": str(error)})
    return *found, missing


def _must_agree(engine, texts, ours):
    for n in dict.fromkeys((1, threads())):
        for number, (a, b) in enumerate(zip(ours, engine.encode(texts, n), strict=True)):
            if a != b:
                raise UserError(f"{engine.name} writes other ids than tinyllm in document {number}")
    for text, ids in zip(texts, ours, strict=True):
        if engine.decode(ids) != text.encode():
            raise UserError(f"{engine.name} does not decode its ids to the text")


def _compare(runs, seconds, least, **about):
    return compare({name: Contender(run) for name, run in runs.items()}, seconds, least, **about)


def _tasks(tokenizer, texts, ids, engines, trainers, vocab_size):
    """Yield (task, threads, {engine: function that does it})."""
    every = list(dict.fromkeys((1, threads())))
    learn = {"tinyllm": partial(BPETokenizer.train, texts, vocab_size, PATTERN)}
    yield "train", every[-1], learn | {name: partial(t, texts, vocab_size) for name, t in trainers.items()}
    ours = {"tinyllm": partial(tokenizer.encode_batch, texts),
            "tinyllm array": partial(_each, tokenizer.encode_to_numpy, texts)}
    for n in every:
        yield "encode", n, ours | {name: partial(e.encode, texts, n) for name, e in engines.items()}
    arrays = [np.array(some, np.int32) for some in ids]
    ours = {"tinyllm": partial(_each, tokenizer.decode_bytes, ids),
            "tinyllm array": partial(_each, tokenizer.decode_bytes, arrays)}
    yield "decode", 1, ours | {name: partial(_each, e.decode, ids) for name, e in engines.items()}
    compiled = regex.compile(PATTERNS[PATTERN])
    if [piece.decode() for text in texts for piece in tokenizer.pieces(text)] != [
        piece for text in texts for piece in compiled.findall(text)
    ]:
        raise UserError("regex cuts the text at other places than tinyllm")
    split = {"tinyllm": partial(_each, _split, texts), "regex": partial(_each, compiled.findall, texts)}
    yield "split", 1, split


def _split(text):
    return split_pieces(text.encode(), PATTERN)


def _each(run, items):
    for item in items:
        run(item)


def _twice(data: bytes, scale: Scale, seconds: float, least: int) -> Iterator[dict]:
    """Yield, for learning and for encoding, the time of each hostile text over the time of half of it."""
    for kind, long in hostile_texts(data, scale.hostile).items():
        half = long[: len(long) // 8 * 4]  # between characters of four bytes
        texts = {"n": half, "2n": long}
        train = {n: partial(BPETokenizer.train, text, scale.vocab_size, PATTERN) for n, text in texts.items()}
        tokenizer = train["2n"]()
        encode = {n: partial(tokenizer.encode_to_numpy, text) for n, text in texts.items()}
        for task, runs in (("train", train), ("encode", encode)):
            about = {"task": f"twice: {task}", "text": kind, "bytes": len(long), "threads": threads()}
            _, record = _compare(runs, seconds, least, **about)
            record["twice"] = record.pop("times")
            yield record | {"engine": "tinyllm"}


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


def train_and_look(name: str, scale: list, n_threads: int) -> dict[str, float | None]:
    """Train a tokenizer -> this process's peak memory in MiB after the imports, the text and the training.

    Call it in a fresh process: a peak never falls.
    """
    sizes = Scale(*scale)
    threads(n_threads)
    libraries = peak_rss_mb()
    data = load_corpus(name).data[: sizes.text]
    before = peak_rss_mb()
    BPETokenizer.train(data, sizes.vocab_size, PATTERN)
    return {"libraries_mb": libraries, "text_mb": before, "peak_rss_mb": peak_rss_mb()}


def _memory(name: str, scale: Scale) -> dict:
    work = {"name": name, "scale": scale, "n_threads": threads()}
    record = {"task": "memory", "engine": "tinyllm", "threads": threads()}
    return record | run_child(train_and_look, work, f"training a tokenizer on {name}")


class Tiktoken:
    """tiktoken with our tokens as ranks; UserError where ranks would not merge as we do."""

    name = "tiktoken"

    def __init__(self, tokenizer):
        import tiktoken

        self.version = metadata.version("tiktoken")
        source = PATTERNS.get(tokenizer.pattern, tokenizer.pattern)
        ranks = tokenizer.vocabulary.ids
        if Vocabulary.from_ranks(ranks) != tokenizer.vocabulary:
            raise UserError("ranks would write some text in other tokens than this vocabulary")
        self._encoding = tiktoken.Encoding("ours", pat_str=source, mergeable_ranks=ranks, special_tokens={})

    def encode(self, texts, threads):
        """Return the ids of each text."""
        if threads == 1:
            return [self._encoding.encode_ordinary(text) for text in texts]
        return self._encoding.encode_ordinary_batch(texts, num_threads=threads)

    def decode(self, ids):
        """Return the bytes of ids."""
        return self._encoding.decode_bytes(ids)


class HuggingFace:
    """tokenizers with the tokenizer.json that we write."""

    name = "huggingface"

    def __init__(self, tokenizer):
        import tokenizers

        self.version = tokenizers.__version__
        self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(tokenizer.to_dict()))

    def encode(self, texts, threads):
        """Return the ids of each text."""
        os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"  # read at every call
        return [found.ids for found in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, ids):
        """Return the bytes of ids."""
        return self._tokenizer.decode(ids, skip_special_tokens=False).encode()


def huggingface_trainer(tokenizer):
    """Return a function (texts, vocab_size) that trains tokenizers on texts cut as ours cuts them."""
    import tokenizers
    from tokenizers import models, pre_tokenizers, trainers

    cut = tokenizers.Tokenizer.from_str(json.dumps(tokenizer.to_dict())).pre_tokenizer

    def train(texts, vocab_size):
        os.environ["TOKENIZERS_PARALLELISM"] = "true"
        new = tokenizers.Tokenizer(models.BPE())
        new.pre_tokenizer = cut
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        how = {"vocab_size": vocab_size, "show_progress": False, "initial_alphabet": alphabet}
        new.train_from_iterator(texts, trainers.BpeTrainer(**how))
        return new.get_vocab_size()

    return train


def rustbpe_trainer(tokenizer):
    """Return a function (texts, vocab_size) that trains rustbpe (Karpathy, 2025), with the same cuts."""
    import rustbpe

    source = PATTERNS.get(tokenizer.pattern, tokenizer.pattern)

    def train(texts, vocab_size):
        new = rustbpe.Tokenizer()
        new.train_from_iterator(iter(texts), vocab_size, pattern=source)
        return new.vocab_size

    return train


ENGINES = {"tiktoken": Tiktoken, "huggingface": HuggingFace}
TRAINERS = {"rustbpe": rustbpe_trainer, "huggingface": huggingface_trainer}
