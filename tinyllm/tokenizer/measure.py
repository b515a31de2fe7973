"""Measure how well a vocabulary fits a text: bytes per token, tokens used, words that are one token."""

import numpy as np

from tinyllm.tokenizer.base import Tokenizer
from tinyllm.tokenizer.bpe import BPETokenizer
from tinyllm.tokenizer.strings import Text, bytes_from_text

LONGEST = 5  # tokens that are listed


def measure(tokenizer: Tokenizer, text: Text) -> dict:
    """Encode a text and measure the result: str or bytes -> dict.

    tokens, bytes, vocab_size, bytes_per_token: what their names say.
    used: the number of different tokens.
    coverage: the share of the vocabulary that is used.
    pieces: the number of pieces into which the pattern cuts the text, None without a pattern.
    whole_pieces: the share of pieces that are one token, None without a pattern.
    longest: the longest tokens that occur.
    """
    data = bytes_from_text(text)
    ids = tokenizer.encode_to_numpy(data)
    used = np.flatnonzero(np.bincount(ids, minlength=tokenizer.vocab_size)).tolist()
    special = set(tokenizer.special_tokens.values())
    ordinary = sum(token is not None for token in tokenizer._tokens) - len(special)
    tokens = sorted((tokenizer.decode_bytes([i]) for i in used), key=lambda token: (-len(token), token))
    pieces, whole = _pieces(tokenizer, data, ids)
    return {
        "bytes": len(data),
        "tokens": ids.size,
        "bytes_per_token": len(data) / ids.size if ids.size else None,
        "vocab_size": tokenizer.vocab_size,
        "used": len(used),
        "coverage": len(used) / ordinary if ordinary else None,
        "pieces": pieces,
        "whole_pieces": whole,
        "longest": tokens[:LONGEST],
    }


def _pieces(tokenizer, data, ids):
    """Return the number of pieces, and the share that are one token. No token crosses a piece."""
    if not isinstance(tokenizer, BPETokenizer) or tokenizer.added_tokens or not ids.size:
        return None, None
    lengths = np.fromiter(map(len, tokenizer.pieces(data)), np.int64)
    sizes = np.array([len(token or b"") for token in tokenizer._tokens])
    ends = np.searchsorted(np.cumsum(sizes[ids]), np.cumsum(lengths))  # the token that ends each piece
    tokens = np.diff(ends, prepend=-1)  # in each piece
    return len(lengths), float(np.mean(tokens == 1))
