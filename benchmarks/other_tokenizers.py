"""Race tokenizers: learning, encoding and decoding a text in documents of 256 KiB.

Every engine gets the same text, the same pattern and, to encode and decode, the same vocabulary, and must
give the same ids. tiktoken, Hugging Face's tokenizers and rustbpe each run their fastest function.
"""

import json
import os
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from tinyllm.bench.race import Contender, apart
from tinyllm.bench.rows import Race
from tinyllm.data import load_corpus
from tinyllm.ops.runtime import threads
from tinyllm.tokenizer import PATTERNS, BPETokenizer

PATTERN, VOCABULARY = "gpt4", 8192
DOCUMENT = 2**18  # bytes: many documents keep all threads busy


def tokenizer(quick: bool, data: str = "stdlib-code") -> Iterator[Race]:
    """Yield the races on a text."""
    text = load_corpus(data).data[: 1_000_000 if quick else None]
    texts = [text[i : i + DOCUMENT].decode("utf-8", "replace") for i in range(0, len(text), DOCUMENT)]
    learners = {"tinyllm": BPETokenizer.train, "rustbpe": learn_rustbpe}
    yield {"task": "learn"}, apart({name: partial(learner, learn, texts) for name, learn in learners.items()})
    for task in ("encode", "decode"):
        yield {"task": task}, apart(
            {name: partial(worker, task, make, texts) for name, make in ENGINES.items()})


def learner(learn: Callable, texts: list[str]) -> Contender:
    """Return the learning of a vocabulary to time; its answer is how many tokens it can learn of 300."""
    os.environ["RAYON_NUM_THREADS"] = str(threads())  # Rust's libraries read it once, before their first work
    return Contender(partial(learn, texts, VOCABULARY, PATTERN), amounts=_amounts(texts),
                     answer=lambda: np.array([learn(texts[:1], 300, PATTERN).vocab_size]))


def learn_rustbpe(texts: list[str], vocab_size: int, pattern: str):
    """Learn with rustbpe (Karpathy, 2025)."""
    import rustbpe

    new = rustbpe.Tokenizer()
    new.train_from_iterator(iter(texts), vocab_size, pattern=PATTERNS[pattern])
    return new


def worker(task: str, make: Callable, texts: list[str]) -> Contender:
    """Return the encoding of texts, or the decoding of their ids, to time; `make(ours)` gives both."""
    os.environ["RAYON_NUM_THREADS"] = str(threads())
    ours = BPETokenizer.train(texts, VOCABULARY, PATTERN)
    encode, decode = make(ours)
    if task == "encode":
        return Contender(partial(encode, texts), amounts=_amounts(texts),
                         answer=lambda: np.concatenate(encode(texts)))
    ids = ours.encode_batch(texts)
    return Contender(lambda: list(map(decode, ids)), amounts=_amounts(texts),
                     answer=lambda: np.frombuffer(b"".join(map(decode, ids)), np.uint8))


def _amounts(texts):
    return {"text": sum(len(text.encode()) for text in texts)}


def _tinyllm(ours):
    return ours.encode_batch, ours.decode_bytes


def _tiktoken(ours):
    import tiktoken

    theirs = tiktoken.Encoding("ours", pat_str=PATTERNS[ours.pattern], mergeable_ranks=ours.vocabulary.ids,
                               special_tokens={})
    if threads() == 1:  # no thread of theirs, because the processor time of this one is taken
        return lambda texts: list(map(theirs.encode_ordinary, texts)), theirs.decode_bytes
    return partial(theirs.encode_ordinary_batch, num_threads=threads()), theirs.decode_bytes


def _huggingface(ours):
    import tokenizers

    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads() > 1 else "false"
    theirs = tokenizers.Tokenizer.from_str(json.dumps(ours.to_dict()))

    def encode(texts):
        return [found.ids for found in theirs.encode_batch_fast(texts, add_special_tokens=False)]

    return encode, lambda ids: theirs.decode(ids, skip_special_tokens=False).encode()


ENGINES = {"tinyllm": _tinyllm, "tiktoken": _tiktoken, "huggingface": _huggingface}
