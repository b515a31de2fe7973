"""Rank files of tiktoken (`load.py`, OpenAI 2022): a line for each token, its bytes in base64 and its rank.

The files hold neither the split pattern nor the special tokens: the caller gives both.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any

from tinyllm.errors import UserError
from tinyllm.tokenizer import bpe_fast
from tinyllm.tokenizer.base import Tokenizer
from tinyllm.tokenizer.bpe import BPETokenizer, check_plain
from tinyllm.tokenizer.vocabulary import Vocabulary

_LINE = re.compile(rb"([A-Za-z0-9+/]+={0,2}) ([0-9]{1,9})")


def looks_like_ranks(data: bytes) -> bool:
    """Return True if the first line fits a rank file: its base64 has a multiple of four characters."""
    match = re.match(rb"\s*%b(?=[\r\n]|\Z)" % _LINE.pattern, data)
    return match is not None and len(match[1]) % 4 == 0


def load(data: bytes, pattern: str | None, special_tokens: Iterable[str] | None) -> BPETokenizer:
    """Load a tokenizer from the bytes of a rank file. Raises UserError, naming the line."""
    if pattern is None:
        raise UserError(
            'a rank file does not say where text is cut: give a pattern, such as pattern="gpt4", or '
            "convert it once: tinyllm tokenizer convert --pattern gpt4"
        )
    special = () if special_tokens is None else special_tokens
    return BPETokenizer.from_ranks(_read(data), pattern, special)


def _read(data):
    """Read the ranks in a rank file: bytes -> {bytes: rank}. Raises UserError, naming the line."""
    ranks = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line:
            continue
        match = _LINE.fullmatch(line)
        try:
            token = base64.b64decode(match[1], validate=True) if match else None
        except binascii.Error:
            token = None
        if token is None:
            raise UserError(f"line {number} is not base64, a space and a rank")
        if token in ranks:
            raise UserError(f"line {number} has a token that was there before")
        ranks[token] = int(match[2])
    return ranks


def dump(tokenizer: Tokenizer) -> bytes:
    """Write a rank file, without pattern and special tokens, which it cannot hold. Raises UserError."""
    vocabulary = check_plain(tokenizer, "a rank file").vocabulary
    ranks = sorted(ranks_of(vocabulary).items(), key=lambda item: item[1])
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks)


def ranks_of(vocabulary: Vocabulary) -> dict[bytes, int]:
    """Return a vocabulary as {bytes: rank}. Raises UserError if tiktoken would merge differently."""
    vocabulary.words()  # raises where two tokens have the same bytes
    ranked = Vocabulary.from_ranks(vocabulary.ids)
    if list(ranked.merges.items()) != (merges := live_merges(vocabulary)):
        different = {*ranked.merges.items()} ^ {*merges} or merges
        token = min(token for _, token in different)
        name = f"token {token}, {(vocabulary.tokens[token] or b'')[:40]!r}"
        raise UserError(f"ranks cannot say how the {name}, is made")
    if ranked.ignore_merges and not vocabulary.ignore_merges:
        token = min({i for token, i in vocabulary.ids.items() if len(token) > 1} - {i for _, i in merges})
        raise UserError(f"no merge makes the token {token}, but ranks would: it cannot be written")
    return vocabulary.ids


def live_merges(vocabulary: Vocabulary) -> list[tuple[tuple[int, int], int]]:
    """Return the merges that can happen in some text, in order: a list of (pair, token).

    A merge of l and r to the token t happens only if it is the last merge when the bytes of t are encoded
    alone: before it, no merge has crossed the ends of l + r, so the text around has no influence. So two
    lists of merges encode every text alike if each token has the same last pair, and these pairs are in the
    same order.
    """
    merges, order = dict(vocabulary.merges), dict(vocabulary.order or vocabulary.merges)
    makers: dict[int, list] = {}
    live: dict[Any, int] = {}
    for pair, token in merges.items():
        makers.setdefault(token, []).append(pair)
    for token, pairs in makers.items():
        ranks = [order.pop(pair) for pair in pairs]
        for pair in pairs:
            del merges[pair]
        ids = [vocabulary.byte_ids[byte] for byte in vocabulary.tokens[token] or b""]
        parts = tuple(bpe_fast.encode(ids, merges, order))
        merges.update(dict.fromkeys(pairs, token))
        order.update(zip(pairs, ranks, strict=True))
        if parts in pairs:
            live[parts] = token
    return sorted(live.items(), key=lambda item: order[item[0]])
