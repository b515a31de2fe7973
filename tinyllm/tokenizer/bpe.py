"""Define byte-level byte pair encoding, the tokenizer of GPT-2 and of most models since.

The algorithms are four ops in `tinyllm/ops/bpe.py`. Compiled kernels (csrc/bpe/) split, train and encode.
Without them the specification trains, and `Vocabulary.encode` encodes.
"""

from __future__ import annotations

import operator
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from tinyllm.errors import UserError
from tinyllm.ops.bpe import BYTES, bpe_encode, bpe_train
from tinyllm.ops.pieces import split_pieces
from tinyllm.tokenizer.base import Allowed, Tokenizer
from tinyllm.tokenizer.patterns import NAMES, PATTERNS, QWEN2, Splitter, kernels
from tinyllm.tokenizer.strings import Text, blocks, bytes_from_text, cut_at_names, text_keeping_bytes
from tinyllm.tokenizer.vocabulary import Vocabulary

WAVE = 2**24  # bytes of small texts that the kernels get at once


class BPETokenizer(Tokenizer):
    """Byte-level BPE: tokens are bytes and frequent sequences of bytes, so every text can be encoded."""

    kind = "bpe"

    def __init__(self, merges, pattern="gpt2", special_tokens=()):
        """Make a tokenizer from merges: pairs of ids in the order of learning; pair i makes token 256 + i.

        merges: a list of pairs, or a `Vocabulary`. pattern: "gpt2", "gpt4", "o200k" or a regular expression
        that cuts the text into pieces. Raises UserError for a repeated pair, or a pair with a token that does
        not exist yet.
        """
        self._splitter = Splitter(pattern)
        self.pattern = pattern
        self.vocabulary = merges if isinstance(merges, Vocabulary) else Vocabulary.from_merges(merges)
        super().__init__(self.vocabulary.tokens, special_tokens)

    @classmethod
    def from_ranks(
        cls, ranks: dict[bytes, int], pattern: str, special_tokens: Iterable[str] = ()
    ) -> BPETokenizer:
        """Make a tokenizer equal to `tiktoken.Encoding` with the same ranks, pattern and special tokens.

        ranks: {bytes: rank}. Two neighbours merge if they form a token together; the lowest rank goes first,
        then the leftmost pair. A piece that is a token becomes that token without merging. special_tokens:
        {name: id}, or names to get the ids after the ranks. Raises UserError if ranks lack a byte or repeat.
        """
        return cls(Vocabulary.from_ranks(ranks), pattern, special_tokens)

    @classmethod
    def whole_words(cls, text: Text, most: int = 2**16, pattern: str = "gpt2") -> BPETokenizer:
        """Make a tokenizer whose tokens are the words of a text, and all single bytes for other words.

        A word is a piece cut by the pattern, with the space before it. With more than `most` tokens, the
        least frequent words are left out; of equally frequent words, those later in the order of bytes.
        """
        counts = Counter(cls([], pattern).pieces(text))
        words = sorted((w for w in counts if len(w) > 1), key=lambda word: (-counts[word], word))
        tokens = [bytes([byte]) for byte in range(BYTES)] + sorted(words[: most - BYTES])
        return cls.from_ranks({token: i for i, token in enumerate(tokens)}, pattern)

    @classmethod
    def train(cls, texts: Any, vocab_size: int, pattern: str = "gpt2", special_tokens: Iterable[str] = (),
              progress: Callable[[int, int], None] | None = None) -> BPETokenizer:
        """Learn a vocabulary from text.

        texts: a str, bytes, an iterable of these, or a file in binary mode, which is one text and may be
        larger than memory. vocab_size counts the 256 bytes, the merges and the special tokens; the result is
        smaller if the text runs out of pairs. The order of the texts does not change the result. No piece
        crosses from one text to the next, so do not cut one text into several; use a file instead. The
        kernels call `progress(done, total)` after every merge.
        """
        if isinstance(special_tokens, (str, dict)):
            raise TypeError(f"special_tokens is a list of names, which are numbered, not {special_tokens!r}")
        special_tokens = list(special_tokens)
        fixed = BYTES + len(special_tokens)
        n_merges = operator.index(vocab_size) - fixed
        if n_merges < 0:
            raise UserError(f"a vocabulary of {vocab_size} is too small: bytes and specials are {fixed}")
        splitter = cls((), pattern, special_tokens)._splitter  # raises for a bad pattern or name
        if isinstance(texts, (str, bytes, bytearray, memoryview)):
            texts = [texts]
        elif hasattr(texts, "read"):
            texts = blocks(texts, splitter.last_cut)
        data = map(bytes_from_text, texts)
        if kernels(bpe_train):
            counter = kernels(bpe_train).PieceCounter()
            for some in _batches(data):
                counter.add(some, *splitter.cuts(some))
            return cls(counter.train(n_merges, progress), pattern, special_tokens)
        counts = Counter(piece for text in data for piece in splitter.pieces(text_keeping_bytes(text)))
        pieces = [piece.encode("utf-8", "surrogateescape") for piece in counts]
        return cls(bpe_train(pieces, list(counts.values()), n_merges), pattern, special_tokens)

    @property
    def merges(self) -> dict[tuple[int, int], int]:
        """Return the merges {(left, right): new token}, in the order in which they are applied."""
        return self.vocabulary.merges

    def pieces(self, text: Text) -> Iterator[bytes]:
        """Cut a text into pieces by the pattern: str or bytes -> iterator of bytes."""
        return self._pieces(text_keeping_bytes(text))

    def _pieces(self, text):
        for piece in self._splitter.pieces(self._normalized(text)):
            yield piece.encode("utf-8", "surrogateescape")

    def encode(self, text: Text, allowed_special: Allowed = ()) -> list[int]:
        """Encode a text as a list of token ids; see `Tokenizer.encode`. Short texts take a faster path."""
        if (type(text) is str and not (allowed_special or self.added_tokens or self.normalizer)
                and kernels(bpe_encode) and kernels(split_pieces)):
            ids = self._kernel.encode_short(text, self._splitter.published)
            if ids is not None:
                return ids
        return super().encode(text, allowed_special)

    def _encode_all(self, texts, allowed_special, arrays=False):
        """Encode several texts in C, on all threads, or one after another in Python."""
        if not kernels(bpe_encode):
            return super()._encode_all(texts, allowed_special, arrays)
        data = [bytes_from_text(text) for text in texts]
        if not (allowed_special or self.added_tokens or self.normalizer):  # the usual case, and the quick way
            return self._kernel.encode(data, *self._splitter.cuts(data), arrays)
        names = {name.encode(): i for name, i in self._names(allowed_special).items()}
        cut = [list(self._cut(text, names)) for text in data]
        stretches = [part for parts in cut for part in parts if not isinstance(part, int)]
        encoded = iter(self._kernel.encode(stretches, *self._splitter.cuts(stretches), True))
        found = [np.concatenate([[part] if isinstance(part, int) else next(encoded) for part in parts],
                                dtype=np.int32) for parts in cut]
        return found if arrays else [ids.tolist() for ids in found]

    def _cut(self, data, names):
        """Cut bytes at the names of tokens: yield their ids, and the bytes between them, normalized."""
        for part in cut_at_names(data, names):
            if self.normalizer and not isinstance(part, int) and not part.isascii():
                part = self._normalized(part.decode("utf-8", "surrogateescape"))
                part = part.encode("utf-8", "surrogateescape")
            yield part

    def _normalized(self, text):
        return unicodedata.normalize(self.normalizer, text) if self.normalizer else text

    @cached_property
    def _kernel(self):
        """Return the vocabulary as an object of the kernels."""
        v = self.vocabulary
        return kernels(bpe_encode).BPE(v.byte_ids, v.merges, v.order, v.ids if v.ignore_merges else {})

    def _encode_ordinary(self, text):
        ids, known = [], {}  # a text repeats its pieces
        for piece in self._pieces(text):
            if piece not in known:
                known[piece] = self.vocabulary.encode(piece)
            ids += known[piece]
        return np.array(ids, np.int32)

    def _last_cut(self, data):
        return 0 if self.normalizer or self.added_tokens else self._splitter.last_cut(data)

    def _document(self):
        return byte_level_document(self.vocabulary, self.pattern)


def byte_level_document(vocabulary: Vocabulary, pattern: str | None) -> tuple[dict, dict]:
    """Return pre_tokenizer, decoder and model of a tokenizer.json, and fields that only tinyllm reads.

    pattern: the same as for `BPETokenizer`, or None if text is not split.
    """
    words, merges = vocabulary.words()
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    source = None if pattern is None else PATTERNS.get(pattern, pattern)
    cut, extra = level | {"use_regex": source is not None and NAMES.get(source) == "gpt2"}, {}
    if source is not None and not cut["use_regex"]:
        split = {"type": "Split", "pattern": {"Regex": source}, "behavior": "Isolated", "invert": False}
        cut = {"type": "Sequence", "pretokenizers": [split, cut]}
        extra = {} if source in NAMES or source == QWEN2 else {"pattern": source}
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": vocabulary.ignore_merges,
        "vocab": dict(sorted(words.items(), key=lambda item: item[1])),
        "merges": merges,
    }
    return {"pre_tokenizer": cut, "decoder": level, "model": model}, extra


def _batches(texts):
    """Collect texts into lists of about WAVE bytes, so that many small ones keep all threads busy."""
    some, size = [], 0
    for text in texts:
        some.append(text)
        size += len(text)
        if size >= WAVE:
            yield some
            some, size = [], 0
    if some:
        yield some
