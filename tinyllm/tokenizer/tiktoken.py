"""Read rank files of tiktoken (`load.py`, OpenAI 2022): a line has a token in base64 and its rank.

The files contain neither the split pattern nor the special tokens: the caller gives both. Every text in UTF-8
gets tiktoken's ids. Other bytes are split and merged in the same way, while tiktoken's private
`_encode_bytes` guesses tokens for the end of a text. Lone surrogates in a str are encoded as bytes, so that
decoding gives the str back; tiktoken joins two into a character, and replaces one alone by U+FFFD.
"""

import base64
import binascii
import re
from collections.abc import Iterable

from tinyllm.errors import UserError
from tinyllm.tokenizer.bpe import BPETokenizer

_LINE = re.compile(rb"([A-Za-z0-9+/]+={0,2}) ([0-9]{1,9})")


def looks_like_ranks(data: bytes) -> bool:
    """Return True if the first line is base64 text, in a multiple of four characters, and a rank."""
    match = re.match(rb"\s*%b(?=[\r\n]|\Z)" % _LINE.pattern, data)
    return match is not None and len(match[1]) % 4 == 0


def load(data: bytes, pattern: str | None, special_tokens: Iterable[str] | None) -> BPETokenizer:
    """Load a tokenizer from the bytes of a rank file. Raises UserError with the number of a bad line."""
    if pattern is None:
        raise UserError(
            'a rank file does not say where text is cut: give a pattern, such as pattern="gpt4", or '
            "convert it once: tinyllm tokenizer convert --pattern gpt4"
        )
    return BPETokenizer.from_ranks(_read(data), pattern, special_tokens or ())


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
