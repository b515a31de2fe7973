"""Byte pair encoding that starts from characters, with bytes for unknown ones: LLaMA 2, Mistral, Gemma."""

import re
from dataclasses import dataclass, replace
from functools import cached_property

from tinyllm.errors import UserError
from tinyllm.ops.bpe import bpe_encode
from tinyllm.tokenizer import incremental

WORD = re.compile("▁*[^▁]*")


@dataclass(frozen=True)
class CharBPE:
    """Text to ids: characters first, then merges, the first learnt first.

    ids: {token: id}. merges: {(left, right): new id}, order: {(left, right): rank}. unknown: the id of a
    character that is no token, or None, which drops it. fuse_unknown: neighbouring unknown characters become
    one token. byte_ids: {byte: id}, which stand for an unknown character where all its bytes have one. prefix
    marks a character that continues a piece, suffix one that ends it. whole_first: a piece that is a token
    becomes that token.
    """

    ids: dict
    merges: dict
    order: dict
    unknown: int | None = None
    fuse_unknown: bool = False
    byte_ids: dict | None = None
    prefix: str = ""
    suffix: str = ""
    whole_first: bool = False

    def without(self, banned):
        """The same model for a text that may not become any of these tokens."""
        ids = {token: i for token, i in self.ids.items() if i not in banned}
        merges = {pair: new for pair, new in self.merges.items() if new not in banned}
        return replace(self, ids=ids, merges=merges, order={pair: self.order[pair] for pair in merges})

    @cached_property
    def words_apart(self):
        """Whether no token crosses the beginning of a word, "▁", so that words can be encoded one by one.

        Then the merges of one word know nothing of its neighbours, and each answer can be remembered.
        """
        text = {i: token for token, i in self.ids.items()}
        crossing = re.compile("[^▁]▁")
        made = (text.get(left, "?") + text.get(right, "?") for left, right in self.merges)
        return not (self.prefix or self.suffix or self.whole_first or any(map(crossing.search, made)))

    def cut(self, piece):
        """The parts of a piece that may be encoded one by one: words, or the piece as it is."""
        if "▁" in self.ids and self.words_apart:
            return [word for word in WORD.findall(piece) if word]
        return [piece]

    def encode(self, piece):
        """Write a piece in tokens: str -> list of ids."""
        if self.whole_first and (whole := self.ids.get(piece)) is not None:
            return [whole]
        first = self._first_ids(piece)
        if incremental.plugged_in(bpe_encode):
            raise UserError("your bpe_encode cannot run this vocabulary: its merges have their own order")
        return incremental.encode(first, self.merges, self.order)

    def _first_ids(self, piece):
        """The ids of the characters of a piece.

        A run of unknown ones is written when the next known character comes, or the end: after the bytes of
        others that stand in between, which is Hugging Face's order.
        """
        found, waiting = [], 0
        last = len(piece) - 1
        for i, character in enumerate(piece):
            token = (self.prefix if i else "") + character + (self.suffix if i == last else "")
            known = self.ids.get(token)
            if known is not None:
                found += [self.unknown] * waiting
                found.append(known)
                waiting = 0
                continue
            if self.byte_ids is not None:
                spelt = [self.byte_ids.get(byte) for byte in token.encode()]
                if None not in spelt:
                    found += spelt
                    continue
            if self.unknown is not None:
                if waiting and not self.fuse_unknown:
                    found.append(self.unknown)
                waiting = 1
        return found + [self.unknown] * waiting
