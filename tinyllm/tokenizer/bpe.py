"""Byte-level byte pair encoding, the tokenizer of GPT-2 and of most models since.

The ideas are four ops in `tinyllm/ops/bpe.py`; this class keeps what they learn and remembers pieces that
it has seen.
"""

import operator
from collections import Counter

import numpy as np

from tinyllm.errors import UserError
from tinyllm.ops.bpe import BYTES, bpe_encode
from tinyllm.tokenizer import incremental
from tinyllm.tokenizer.base import Tokenizer, text_keeping_bytes
from tinyllm.tokenizer.patterns import compile_pattern, split
from tinyllm.tokenizer.vocabulary import Vocabulary

CACHE_PIECES = 2**16  # natural text repeats its words: this many distinct ones are remembered
CACHE_LENGTH = 64  # characters: longer pieces are rarely seen twice


class BPETokenizer(Tokenizer):
    """Tokens are bytes, frequent pairs of bytes, frequent pairs of those, and so on: no text is unknown."""

    kind = "bpe"

    def __init__(self, merges, pattern="gpt2", special_tokens=()):
        """merges: pairs of ids in the order of learning, the i-th of which makes token 256 + i.

        pattern: "gpt2", "gpt4" or a regular expression that cuts the text into pieces. Raises UserError for
        a pair that is there twice or that uses a token which does not exist yet.
        """
        self._set_up(Vocabulary.from_merges(merges), pattern, special_tokens)

    @classmethod
    def from_vocabulary(cls, vocabulary, pattern, special_tokens, pipeline=None):
        """Make a tokenizer of any `Vocabulary`.

        special_tokens: {name: id}, ids that it leaves free, or names to number after it. pipeline: what a
        file of Hugging Face's says beside the vocabulary.
        """
        tokenizer = cls.__new__(cls)
        tokenizer._set_up(vocabulary, pattern, special_tokens)
        if pipeline:
            tokenizer.pipeline = pipeline
            tokenizer._tokens = pipeline.added.with_bytes(tokenizer._tokens)
        return tokenizer

    @classmethod
    def from_ranks(cls, ranks, pattern, special_tokens=()):
        """Make the tokenizer that `tiktoken.Encoding` makes of the same ranks, pattern and special tokens.

        ranks: {bytes: rank}; two neighbours merge if together they are a token, the lowest rank first and
        the leftmost of those, and a piece that is a token is taken whole. special_tokens: {name: id} or
        names, which are then numbered after the ranks. Raises UserError for ranks that lack a byte or are
        there twice.
        """
        return cls.from_vocabulary(Vocabulary.from_ranks(ranks), pattern, special_tokens)

    def _set_up(self, vocabulary, pattern, special_tokens):
        self._split = compile_pattern(pattern)
        self.pattern = pattern
        self.vocabulary = vocabulary
        super().__init__(vocabulary.tokens, special_tokens)
        self._cache = {}

    @property
    def merges(self):
        """Which pairs of tokens make which: {(left, right): new token}, the first to go first."""
        return self.vocabulary.merges

    @classmethod
    def train(cls, texts, vocab_size, pattern="gpt2", special_tokens=(), progress=None, on_merge=None):
        """Learn a vocabulary from text.

        texts: a str, bytes, or an iterable of them. vocab_size counts the 256 bytes, the merges and the
        special tokens; the result is smaller if the text runs out of pairs. The same text gives the same
        vocabulary, in whatever order it comes. `progress(done, total)` is called now and then, and
        `on_merge(left, right, new, count)` for every merge in turn: three tokens, and how often the pair
        stood in the text.
        """
        special_tokens = list(special_tokens)
        fixed = BYTES + len(special_tokens)
        n_merges = operator.index(vocab_size) - fixed
        if n_merges < 0:
            raise UserError(f"a vocabulary of {vocab_size} is too small: bytes and specials are {fixed}")
        cls((), pattern, special_tokens)  # a bad pattern or name should not wait for the training
        pieces = Counter()
        for text in [texts] if isinstance(texts, (str, bytes, bytearray, memoryview)) else texts:
            pieces.update(split(compile_pattern(pattern), text_keeping_bytes(text)))
        data = [piece.encode("utf-8", "surrogateescape") for piece in pieces]
        merges = incremental.train(data, list(pieces.values()), n_merges, progress, on_merge)
        return cls(merges, pattern, special_tokens)

    def pieces(self, text):
        """Cut a text where the pattern says: str or bytes -> iterator of bytes, which no token crosses."""
        for piece in self._pieces(text_keeping_bytes(text)):
            yield piece.encode("utf-8", "surrogateescape")

    def _encode_ordinary(self, text):
        # What a student's own function answers must not be remembered, nor hidden by what is.
        cache = {} if incremental.plugged_in(bpe_encode) else self._cache
        ids = []
        for piece in self._pieces(text):
            known = cache.get(piece)
            if known is None:
                known = self.vocabulary.encode(piece.encode("utf-8", "surrogateescape"))
                if len(piece) <= CACHE_LENGTH:
                    if len(cache) >= CACHE_PIECES:
                        cache.clear()  # crude, but the frequent pieces are back at once
                    cache[piece] = known
            ids += known
        return np.array(ids, np.int32)

    def _pieces(self, text):
        if self.pipeline and self.pipeline.steps is not None:
            return self.pipeline.pieces(text)
        return split(self._split, text)

    def _json(self):
        if self.pipeline or self.vocabulary.learnt_here:
            return super()._json()
        from tinyllm.tokenizer.formats.own import version_2

        return version_2(self)

    def _fields(self):
        return {"pattern": self.pattern, "merges": list(self.merges)}

    @classmethod
    def _from_fields(cls, fields, special_tokens):
        if not isinstance(fields["merges"], list):
            raise UserError("merges is not a list")
        return cls(fields["merges"], fields["pattern"], special_tokens)
