"""Define the vocabulary of a byte-level BPE tokenizer: its tokens, and the pairs that merge, in order.

A vocabulary trained by tinyllm numbers the bytes 0 to 255 and the merges from 256 on. Other files have other
numbers: GPT-2's file puts the printable bytes first, tiktoken's files leave gaps for special tokens.

Files spell a token in GPT-2's characters, because JSON cannot hold arbitrary bytes: the bytes of printable
Latin-1 characters are written as these, all others as U+0100, U+0101... in order (`bytes_to_unicode` in
GPT-2's encoder.py, 2019). The space is "Ġ".
"""

from __future__ import annotations

import operator
from codecs import charmap_encode
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, count, islice, pairwise, repeat
from typing import Any

import numpy as np

from tinyllm.errors import UserError
from tinyllm.ops.bpe import BYTES, bpe_encode

LARGEST_ID = 2**22  # ids are below this, so that no file can fill the memory
MAX_BYTES = 2**26  # the most bytes of all tokens together: forty merges can make a token of 2**40 bytes
MAX_SQUARES = 2**26  # bounds the sum of squared lengths of ranked tokens, the time of finding their parts

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(BYTES) if byte not in _PRINTABLE]
CHARACTERS = {byte: chr(byte) for byte in _PRINTABLE} | {b: chr(BYTES + i) for i, b in enumerate(_OTHERS)}
_BYTE_OF = {ord(character): byte for byte, character in CHARACTERS.items()}
_BYTES = np.full(2**16, -1, np.int16)  # the same as an array, -1 for other characters
_BYTES[[*_BYTE_OF]] = [*_BYTE_OF.values()]
AT_ONCE = 512  # merges are read few at a time, so that their texts stay in the processor's cache


def characters(token: bytes) -> str:
    """Write bytes as GPT-2's characters: b" a" -> "\u0120a"."""
    return "".join(map(CHARACTERS.__getitem__, token))


def token_bytes(word: str) -> bytes | None:
    """Read GPT-2's characters as bytes, or return None if a character stands for no byte."""
    try:
        return charmap_encode(word, "strict", _BYTE_OF)[0]
    except UnicodeEncodeError:
        return None


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The ordinary tokens of a byte-level BPE tokenizer."""

    tokens: dict[int, bytes]  # {id: bytes}; a missing id is unused, or belongs to a special token
    byte_ids: list[int]  # of the 256 single bytes, -1 - i for a byte i without a token
    columns: np.ndarray  # (3, merges): the left, right and new token of each; the first merges first
    ignore_merges: bool = False  # True if a piece that is a token always becomes that token, without merging

    @classmethod
    def from_merges(cls, pairs: Iterable) -> Vocabulary:
        """Build a vocabulary in which bytes are 0 to 255 and pair i makes token 256 + i.

        Raises UserError for a repeated pair, or a pair with a token that does not exist yet.
        """
        tokens = {i: bytes([i]) for i in range(BYTES)}
        merges: dict[tuple[int, int], int] = {}
        total = BYTES
        for i, pair in enumerate(pairs):
            if len(pair) != 2 or not all(side in tokens for side in pair):
                raise UserError(f"merges[{i}] is a pair of tokens before it, 0 to {len(tokens) - 1}")
            left, right = pair
            if (left, right) in merges:
                raise UserError(f"the merge {[left, right]} is there twice")
            total += len(tokens[left]) + len(tokens[right])
            if total > MAX_BYTES:
                raise UserError(f"merges[{i}] makes over {MAX_BYTES >> 20} MB: split the text finer")
            merges[left, right] = len(tokens)
            tokens[len(tokens)] = tokens[left] + tokens[right]
        return cls(tokens, list(range(BYTES)), as_columns(merges))

    @classmethod
    def from_ranks(cls, ranks: dict[bytes, int]) -> Vocabulary:
        """Build a vocabulary from tiktoken's ranks. Neighbours merge if they form a token, lowest rank first.

        ranks: {bytes: rank}; the ranks become the ids. Raises UserError if a single byte is missing. The
        merge that makes a token does not depend on the surrounding text, because no earlier merge crosses the
        token's ends. A token that no merge makes occurs only as a whole piece.
        """
        if sum(len(token) ** 2 for token in ranks) > MAX_SQUARES:
            raise UserError(f"the tokens are too long: the squares of their lengths exceed {MAX_SQUARES}")
        _check_ids(ranks)
        byte_ids = [ranks.get(bytes([byte]), -1) for byte in range(BYTES)]
        if -1 in byte_ids:
            raise UserError(f"there is no token for the byte 0x{byte_ids.index(-1):02x}, as any text needs")
        tokens, merges, unreached = {}, {}, False
        for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
            tokens[rank] = token
            parts = [token[i : i + 1] for i in range(len(token))]
            parts = _merged(parts, lambda pair: ranks.get(b"".join(pair)), operator.add, until=2)
            if len(parts) == 2:
                merges[ranks[parts[0]], ranks[parts[1]]] = rank
            unreached |= len(parts) > 2
        return cls(tokens, byte_ids, as_columns(merges), ignore_merges=unreached)

    @classmethod
    def from_words(cls, vocab: dict[str, int], merges: list, ignore_merges: bool,
                   names: Collection[str] = ()) -> Vocabulary:
        """Build a vocabulary from tokens in GPT-2's spelling, with a printable character for each byte.

        vocab: {token: id}.
        merges: pairs of tokens in the order of merging, as "a b" or ["a", "b"].
        ignore_merges: True encodes a piece that is itself a token at once, without merging.
        names: added tokens such as `<|endoftext|>`, which are written as they are. A name that is part
            of a merge is an ordinary token too.

        Raises UserError for an id or a merge that occurs twice or does not fit.
        """
        _check_ids(vocab)
        columns = _columns(vocab, merges)
        if alone := {vocab[name] for name in names if name in vocab}:
            alone.difference_update(columns.ravel().tolist(), map(vocab.get, CHARACTERS.values()))
        spelt = {word: i for word, i in vocab.items() if i not in alone} if alone else vocab
        codes = _BYTES[np.frombuffer("".join(spelt).encode("utf-16-le"), np.uint16)]
        if not all(spelt) or (codes < 0).any():
            word, i = next((word, i) for word, i in spelt.items() if not token_bytes(word))
            raise UserError(f"the token {word[:40]!r} (id {i}) is not in GPT-2's byte characters")
        data, ends = codes.astype(np.uint8).tobytes(), accumulate(map(len, spelt), initial=0)
        tokens = {i: data[a:b] for i, (a, b) in zip(spelt.values(), pairwise(ends), strict=True)}
        byte_ids = [vocab.get(CHARACTERS[byte], -1 - byte) for byte in range(BYTES)]
        return cls(tokens, byte_ids, columns, ignore_merges)

    def words(self) -> tuple[dict[str, int], list[list[str]]]:
        """Return ({token: id}, merges in order), with tokens written in GPT-2's characters.

        Raises UserError if two tokens have the same bytes, which a file cannot express.
        """
        spelt = {i: characters(token) for i, token in self.tokens.items()}
        vocab = {word: i for i, word in spelt.items()}
        for i, word in spelt.items():
            if vocab[word] != i:
                both = f"{i} and {vocab[word]}"
                raise UserError(f"the tokens {both} have the same bytes, which no file can hold")
        return vocab, [[spelt[left], spelt[right]] for left, right in self.merges]

    @cached_property
    def merges(self) -> dict[tuple[int, int], int]:
        """Return {(left, right): new token}, in the order of merging."""
        left, right, new = self.columns.tolist()
        return dict(zip(zip(left, right, strict=True), new, strict=True))

    @cached_property
    def order(self) -> dict[tuple[int, int], int] | None:
        """Return {(left, right): rank}, or None if the pair with the smallest new token merges first."""
        return None if (np.diff(self.columns[2]) > 0).all() else dict(zip(self.merges, count(), strict=False))

    @cached_property
    def ids(self) -> dict[bytes, int]:
        """Return {bytes: id} of the ordinary tokens."""
        return {token: i for i, token in self.tokens.items()}

    def encode(self, piece: bytes) -> list[int]:
        """Encode a piece: bytes -> list of ids. The pair of smallest rank merges first, then the leftmost.

        If `bpe_encode` is replaced (see `tl.override`), the replacement runs. This raises UserError if the
        vocabulary has `order` or `ignore_merges`. A byte without a token always raises UserError.
        """
        if bpe_encode.replaced and (self.order is not None or self.ignore_merges):
            raise UserError("a replaced bpe_encode cannot run this vocabulary: its merges have an order")
        if self.ignore_merges and piece in self.ids:
            return [self.ids[piece]]
        ids = [self.byte_ids[byte] for byte in piece]
        if (least := min(ids, default=0)) < 0:
            raise UserError(f"the text has the byte 0x{-1 - least:02x}, for which this vocabulary has no "
                            "token; take it out of the text, or take another tokenizer")
        if bpe_encode.replaced:
            return list(bpe_encode(ids, self.merges))
        return _merged(ids, (self.order or self.merges).get, lambda left, right: self.merges[left, right])


def check_id(i: Any, what: str) -> None:
    """Raise UserError unless the id of a token is a whole number below LARGEST_ID."""
    if type(i) is not int or not 0 <= i < LARGEST_ID:
        raise UserError(f"the id of {what} must be a number from 0 to {LARGEST_ID - 1}, not {str(i)[:20]}")


def as_columns(merges: dict[tuple[int, int], int]) -> np.ndarray:
    """Return merges, {(left, right): new token}, as three rows of ids."""
    return np.array([(*pair, new) for pair, new in merges.items()], np.int64).reshape(-1, 3).T


def split_merges(merges: list) -> Iterator[list[str]]:
    """Return an iterator of the two tokens of each merge, "a b" or ["a", "b"], as lists."""
    kinds = {*map(type, merges)}
    if kinds == {str}:
        return map(str.split, merges, repeat(" "))
    if str in kinds:
        return (merge.split(" ") if isinstance(merge, str) else merge for merge in merges)
    return iter(merges)


def _columns(vocab, merges):
    """Return the ids of the left, right and new tokens of merges. Raises UserError for a wrong merge."""
    columns, pairs, done = np.empty((3, len(merges)), np.int64), split_merges(merges), 0
    with suppress(TypeError, KeyError):
        while some := [*islice(pairs, AT_ONCE)]:
            if {*map(type, some)} != {list} or {*map(len, some)} != {2}:
                raise TypeError
            for ids, words in zip(columns, (*zip(*some, strict=True), map("".join, some)), strict=True):
                ids[done : done + len(some)] = [*map(vocab.__getitem__, words)]
            done += len(some)
        if np.diff(np.sort(columns[0] * LARGEST_ID + columns[1])).all():
            return columns
    ranks: dict = {}  # this slower loop finds the merge to name
    for rank, pair in enumerate(split_merges(merges)):
        if type(pair) is not list or [*map(type, pair)] != [str, str]:
            raise UserError(f"merges[{rank}] is not two tokens")
        for word in (*pair, "".join(pair)):
            if word not in vocab:
                raise UserError(f"merges[{rank}] needs the token {word[:40]!r}, which is not in the "
                                "vocabulary")
        if (first := ranks.setdefault(tuple(pair), rank)) < rank:
            both = " and ".join(repr(word[:40]) for word in pair)
            raise UserError(f"merges[{first}], {both}, is there twice")


def _check_ids(vocab):
    """Raise UserError if an id of a vocabulary, {token: id}, is invalid or occurs twice."""
    ids = vocab.values()
    if {*map(type, ids)} == {int} and min(ids) >= 0 and max(ids) < LARGEST_ID and len({*ids}) == len(ids):
        return  # the loop below finds the token to name
    taken = {}
    for word, i in vocab.items():
        check_id(i, f"the token {word[:40]!r}")
        if taken.setdefault(i, word) is not word:
            raise UserError(f"the tokens {taken[i][:40]!r} and {word[:40]!r} have the same id {i}")


def _merged(parts, rank, join, until=1):
    """Join neighbours, the pair of lowest rank first, then the leftmost, until none has a rank.

    rank(pair): returns a rank, or None for a pair that does not merge. until: the number of parts to stop at.
    """
    ranks = [*map(rank, pairwise(parts))]
    while len(parts) > until and (known := [r for r in ranks if r is not None]):
        i = ranks.index(min(known))
        parts[i : i + 2] = [join(*parts[i : i + 2])]
        before = max(i - 1, 0)
        ranks[before : i + 2] = map(rank, pairwise(parts[before : i + 2]))
    return parts
