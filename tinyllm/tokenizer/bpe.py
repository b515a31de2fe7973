"""Define byte-level byte pair encoding, the tokenizer of GPT-2 and of most models since.

The algorithms are ops in `tinyllm/ops/bpe.py` and `pieces.py`. Compiled kernels (csrc/bpe/) split, train and
encode. Without them the specification trains, and `Vocabulary.encode` encodes.
"""

from __future__ import annotations

import operator
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import islice, pairwise
from typing import Any

import numpy as np

from tinyllm.errors import UserError
from tinyllm.ops.bpe import BYTES, bpe_encode, bpe_train
from tinyllm.ops.pieces import PATTERNS, split_pieces
from tinyllm.ops.registry import _compiled
from tinyllm.tokenizer.base import Allowed, Tokenizer
from tinyllm.tokenizer.strings import Text, blocks, bytes_from_text, check_names
from tinyllm.tokenizer.vocabulary import Vocabulary

AT_ONCE = 32  # how many texts the kernels count together, so that short texts, too, keep all threads busy


def kernels(operation: Any) -> Any:
    """Return the compiled module if both this op and `split_pieces` run as kernels, else None."""
    for op in (operation, split_pieces):
        if op._run is not op.implementations.get("compiled") and op.backend != "compiled":
            return None
    return _compiled


class BPETokenizer(Tokenizer):
    """Byte-level BPE: tokens are bytes and frequent sequences of bytes, so every text can be encoded."""

    kind = "bpe"

    def __init__(self, merges, pattern="gpt2", special_tokens=()):
        """Make a tokenizer from merges: pairs of ids in the order of learning; pair i makes token 256 + i.

        merges: a list of pairs, or a `Vocabulary`. pattern: "gpt2", "gpt4", "o200k" or "qwen2", the regular
        expression that cuts the text into pieces. Raises UserError for a repeated pair, or a pair with a
        token that does not exist yet.
        """
        if pattern not in PATTERNS:
            raise UserError(f"text is cut by one of the patterns {', '.join(PATTERNS)}, not by {pattern!r}")
        self.pattern = pattern
        self.vocabulary = merges if isinstance(merges, Vocabulary) else Vocabulary.from_merges(merges)
        super().__init__(self.vocabulary.tokens, special_tokens)

    @classmethod
    def whole_words(cls, text: Text) -> BPETokenizer:
        """Make a tokenizer whose tokens are the words of a text, and single bytes to encode other words.

        A word is a piece of GPT-2's pattern, with the space before it.
        """
        words = sorted({piece for piece in cls([]).pieces(text) if len(piece) > 1})
        tokens = [*(bytes([byte]) for byte in range(BYTES)), *words]
        return cls(Vocabulary.from_ranks({token: i for i, token in enumerate(tokens)}))

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
        if isinstance(special_tokens, dict):
            raise TypeError(f"special_tokens is a list of names, which are numbered, not {special_tokens!r}")
        special_tokens = check_names(special_tokens)
        empty, at_once = cls((), pattern, special_tokens), AT_ONCE
        n_merges = operator.index(vocab_size) - empty.vocab_size
        if n_merges < 0:
            least = f"bytes and specials are {empty.vocab_size}"
            raise UserError(f"a vocabulary of {vocab_size} is too small: {least}")
        if isinstance(texts, (str, bytes, bytearray, memoryview)):
            texts = [texts]
        elif hasattr(texts, "read"):
            texts, at_once = blocks(texts, empty._last_cut), 1
        data = map(bytes_from_text, texts)
        if kernels(bpe_train):
            counter = kernels(bpe_train).PieceCounter()
            while some := list(islice(data, at_once)):
                counter.add(some, pattern)
            return cls(counter.train(n_merges, progress), pattern, special_tokens)
        counts = Counter(piece for text in data for piece in empty.pieces(text))
        return cls(bpe_train(list(counts), list(counts.values()), n_merges), pattern, special_tokens)

    @property
    def merges(self) -> dict[tuple[int, int], int]:
        """Return the merges {(left, right): new token}, in the order in which they are applied."""
        return self.vocabulary.merges

    def pieces(self, text: Text) -> Iterator[bytes]:
        """Cut a text into pieces by the pattern: str or bytes -> iterator of bytes."""
        data = self._normalized(bytes_from_text(text))
        return (data[a:b] for a, b in pairwise([0, *split_pieces(data, self.pattern).tolist()]))

    def encode(self, text: Text, allowed_special: Allowed = ()) -> list[int]:
        """Encode a text as a list of token ids; see `Tokenizer.encode`. Short texts take a faster path."""
        if not self._is_plain(allowed_special):
            return super().encode(text, allowed_special)
        ids = self._kernel.encode_short(text, self.pattern) if type(text) is str else None
        return self.encode_batch([text])[0] if ids is None else ids

    def _is_plain(self, allowed_special):
        """Return True if kernels can encode whole texts: no names to look for, nothing to normalize."""
        return not (allowed_special or self.added_tokens or self.normalizer) and kernels(bpe_encode)

    def encode_batch(self, texts: Iterable[Text], allowed_special: Allowed = ()) -> list[list[int]]:
        """Encode several texts -> a list with a list of ids for each text; kernels use all threads."""
        if not self._is_plain(allowed_special):
            return super().encode_batch(texts, allowed_special)
        return self._kernel.encode([bytes_from_text(text) for text in texts], self.pattern, False)

    def _encode_ordinary(self, data):
        data = self._normalized(data)
        if kernels(bpe_encode):
            return self._kernel.encode([data], self.pattern, True)[0]
        ids, known = [], {}  # each different piece is encoded once
        for piece in self.pieces(data):
            if piece not in known:
                known[piece] = self.vocabulary.encode(piece)
            ids += known[piece]
        return np.array(ids, np.int32)

    def _normalized(self, data):
        """Apply the tokenizer's Unicode normalization, if it has one: bytes -> bytes."""
        if not self.normalizer or data.isascii():
            return data
        text = unicodedata.normalize(self.normalizer, data.decode("utf-8", "surrogateescape"))
        return text.encode("utf-8", "surrogateescape")

    @cached_property
    def _kernel(self):
        v = self.vocabulary
        return kernels(bpe_encode).BPE(v.byte_ids, v.columns, v.ids if v.ignore_merges else {})

    def _last_cut(self, data):
        if self.normalizer or self.added_tokens or not kernels(split_pieces):
            return 0
        for back in (2**10, 2**16, len(data)):
            at = kernels(split_pieces).piece_cut(data, max(len(data) - back, 0))
            if at < len(data):
                return at
        return 0

    def _document(self):
        return byte_level_document(self.vocabulary, self.pattern)


def byte_level_document(vocabulary: Vocabulary, pattern: str | None) -> dict[str, Any]:
    """Return pre_tokenizer, decoder and model of a tokenizer.json; without a pattern, text is not split."""
    words, merges = vocabulary.words()
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    cut = level | {"use_regex": pattern == "gpt2"}
    if pattern not in (None, "gpt2"):
        cut = {"type": "Sequence", "pretokenizers": [split_at(PATTERNS[pattern]), cut]}
    model = {
        "type": "BPE",
        **dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")),
        "fuse_unk": False, "byte_fallback": False, "ignore_merges": vocabulary.ignore_merges,
        "vocab": dict(sorted(words.items(), key=lambda item: item[1])), "merges": merges,
    }
    return {"pre_tokenizer": cut, "decoder": level, "model": model}


def split_at(pattern: str) -> dict[str, Any]:
    """Return the part of a tokenizer.json that cuts a text into the matches of a regular expression."""
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
