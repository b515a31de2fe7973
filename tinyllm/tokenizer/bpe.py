"""Byte-level byte pair encoding, the tokenizer of GPT-2 and of most models since.

The ideas are four ops in `tinyllm/ops/bpe.py`. Where the kernels run, they split, train and encode
(csrc/bpe_*.c); otherwise `incremental.py` does, and this class remembers the pieces that it has seen.
"""

import operator
from collections import Counter
from functools import cached_property

import numpy as np

from tinyllm.errors import UserError
from tinyllm.ops.bpe import BYTES, bpe_encode, bpe_train
from tinyllm.tokenizer import incremental
from tinyllm.tokenizer.base import Tokenizer, bytes_from_text, cut_at_names, text_keeping_bytes
from tinyllm.tokenizer.patterns import Splitter
from tinyllm.tokenizer.stream import blocks
from tinyllm.tokenizer.vocabulary import Vocabulary

CACHE_PIECES = 2**16  # natural text repeats its words: this many distinct ones are remembered
CACHE_LENGTH = 64  # characters: longer pieces are rarely seen twice
WAVE = 2**24  # bytes of small texts that are handed to the kernels at once


class BPETokenizer(Tokenizer):
    """Tokens are bytes, frequent pairs of bytes, frequent pairs of those, and so on: no text is unknown."""

    kind = "bpe"

    def __init__(self, merges, pattern="gpt2", special_tokens=()):
        """merges: pairs of ids in the order of learning, the i-th of which makes token 256 + i.

        pattern: "gpt2", "gpt4", "o200k" or a regular expression that cuts the text into pieces. Raises
        UserError for a pair that is there twice or that uses a token which does not exist yet.
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
        self._splitter = Splitter(pattern)
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

        texts: a str, bytes, an iterable of them, or one text in a file opened in binary mode, which may be
        larger than memory. vocab_size counts the 256 bytes, the merges and the special tokens; the result is
        smaller if the text runs out of pairs. The same text gives the same vocabulary, in whatever order it
        comes. No piece crosses from one text to the next: what was cut anywhere is one text, and belongs into
        a file. `progress(done, total)` is called now and then, and `on_merge(left, right, new, count)` for
        every merge in turn: three tokens, and how often the pair stood in the text.
        """
        if isinstance(special_tokens, (str, dict)):
            raise TypeError(f"special_tokens is a list of names, which are numbered, not {special_tokens!r}")
        special_tokens = list(special_tokens)
        fixed = BYTES + len(special_tokens)
        n_merges = operator.index(vocab_size) - fixed
        if n_merges < 0:
            raise UserError(f"a vocabulary of {vocab_size} is too small: bytes and specials are {fixed}")
        cls((), pattern, special_tokens)  # a bad pattern or name should not wait for the training
        splitter = Splitter(pattern)
        if isinstance(texts, (str, bytes, bytearray, memoryview)):
            texts = [texts]
        elif hasattr(texts, "read"):
            texts = blocks(texts, splitter.last_cut)
        learn = _train_compiled if incremental.kernels(bpe_train) else _train
        merges = learn(map(bytes_from_text, texts), n_merges, splitter, progress, on_merge)
        return cls(merges, pattern, special_tokens)

    def pieces(self, text):
        """Cut a text where the pattern says: str or bytes -> iterator of bytes, which no token crosses."""
        for piece in self._pieces(text_keeping_bytes(text)):
            yield piece.encode("utf-8", "surrogateescape")

    def encode(self, text, allowed_special=()):
        """Write a text as a list of token ids, as `Tokenizer.encode` says."""
        if incremental.kernels(bpe_encode):
            return self._encode_compiled([text], allowed_special)[0]
        return super().encode(text, allowed_special)

    def encode_to_numpy(self, text, allowed_special=()):
        """The same ids as `encode`, in an int32 array."""
        if incremental.kernels(bpe_encode):
            return self._encode_compiled([text], allowed_special, arrays=True)[0]
        return super().encode_to_numpy(text, allowed_special)

    def encode_batch(self, texts, allowed_special=()):
        """Encode each of several texts, in parallel: a list of lists of ids."""
        if incremental.kernels(bpe_encode):
            return self._encode_compiled(texts, allowed_special)
        return super().encode_batch(texts, allowed_special)

    def _encode_compiled(self, texts, allowed_special, arrays=False):
        """Encode several texts in C, each a list of ids, or an array."""
        allowed = self._allowed(allowed_special)
        cut = [list(self._cut_bytes(bytes_from_text(text), allowed)) for text in texts]
        stretches = [part for parts in cut for part in parts if not isinstance(part, int)]
        encoded = iter(self._kernel.encode(*self._orders(stretches), arrays))
        return [_woven(parts, encoded, arrays) for parts in cut]

    def _cut_bytes(self, text, allowed):
        """Cut bytes at special and other added tokens: their ids, and the bytes between them."""
        if self.pipeline:
            for part in self._cut(text_keeping_bytes(text), allowed):
                yield part if isinstance(part, int) else part.encode("utf-8", "surrogateescape")
            return
        yield from cut_at_names(text, {name.encode(): self.special_tokens[name] for name in allowed})

    def _orders(self, stretches):
        """What the kernels want: bytes, and a published pattern or the ends of all their pieces."""
        if not (self.pipeline and self.pipeline.steps is not None):
            return stretches, *self._splitter.orders(stretches)
        changed, ends = [], []
        for stretch in stretches:
            pieces = self.pipeline.pieces(stretch.decode("utf-8", "surrogateescape"))
            pieces = [piece.encode("utf-8", "surrogateescape") for piece in pieces]
            changed.append(b"".join(pieces))
            ends.append(np.cumsum([len(piece) for piece in pieces], dtype=np.int64))
        return changed, None, ends

    @cached_property
    def _kernel(self):
        """The vocabulary as csrc/bpe_encode.c wants it."""
        v = self.vocabulary
        whole = v.ids if v.whole_first else None
        return incremental.kernels(bpe_encode).BPE(v.byte_ids, v.merges, v.order, whole)

    def _encode_ordinary(self, text):
        # The results of a plugged-in function are neither remembered nor hidden by what is.
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
        return self._splitter.pieces(text)

    def _json(self):
        if self.pipeline or self.vocabulary.learnt_here:
            return super()._json()
        from tinyllm.tokenizer.formats.own import version_2

        return version_2(self)

    def _last_cut(self, data):
        return 0 if self.pipeline else self._splitter.last_cut(data)

    def _fields(self):
        return {"pattern": self.pattern, "merges": list(self.merges)}

    @classmethod
    def _from_fields(cls, fields, special_tokens):
        if not isinstance(fields["merges"], list):
            raise UserError("merges is not a list")
        return cls(fields["merges"], fields["pattern"], special_tokens)


def _woven(parts, encoded, arrays):
    """The ids of a text: its parts that are ids, and for each other one the next that was encoded."""
    if len(parts) == 1 and not isinstance(parts[0], int):
        return next(encoded)
    if arrays:
        woven = [np.array([part], np.int32) if isinstance(part, int) else next(encoded) for part in parts]
        return np.concatenate([np.zeros(0, np.int32), *woven])
    ids = []
    for part in parts:
        ids += [part] if isinstance(part, int) else next(encoded)
    return ids


def _train(texts, n_merges, splitter, progress, on_merge):
    """Learn merges from texts (bytes) in Python."""
    pieces = Counter()
    for text in texts:
        pieces.update(splitter.pieces(text_keeping_bytes(text)))
    data = [piece.encode("utf-8", "surrogateescape") for piece in pieces]
    return incremental.train(data, list(pieces.values()), n_merges, progress, on_merge)


def _train_compiled(texts, n_merges, splitter, progress, on_merge):
    """The same in C: count the pieces of some texts at a time, all threads together, then learn."""
    counter = incremental.kernels(bpe_train).PieceCounter()
    for some in _batches(texts):
        counter.add(some, *splitter.orders(some))
    return counter.train(n_merges, progress, on_merge)


def _batches(texts):
    """Lists of texts of about WAVE bytes, so that many small ones keep all threads busy."""
    some, size = [], 0
    for text in texts:
        some.append(text)
        size += len(text)
        if size >= WAVE:
            yield some
            some, size = [], 0
    if some:
        yield some
