"""Rank files of tiktoken (`load.py`, OpenAI 2022): a line for each token, its bytes in base64 and its rank.

They say neither where the text is cut nor which special tokens there are: whoever loads one has to.
"""

import base64
import binascii
import re

from tinyllm.errors import UserError
from tinyllm.files import atomic_write_bytes
from tinyllm.tokenizer.bpe import BPETokenizer
from tinyllm.tokenizer.formats.express import check_plain, ranks_of

_LINE = re.compile(rb"([A-Za-z0-9+/]+={0,2}) ([0-9]{1,9})")


def looks_like_ranks(data):
    """Whether the first line is one of a rank file: base64 comes in fours, which a first merge never does."""
    line = re.match(rb"\s*([^\r\n]*)", data)[1]
    match = _LINE.fullmatch(line)
    return bool(match) and len(match[1]) % 4 == 0


def load(data, pattern, special_tokens):
    """Make a tokenizer of the bytes of a rank file. Raises UserError, naming the line."""
    if pattern is None:
        raise UserError(
            'a rank file does not say where text is cut: give a pattern, such as pattern="gpt4", or '
            "convert it once: tinyllm tokenizer convert --pattern gpt4"
        )
    return BPETokenizer.from_ranks(
        read_ranks(data), pattern, () if special_tokens is None else special_tokens
    )


def read_ranks(data):
    """The ranks in a rank file: bytes -> {bytes: rank}. Raises UserError, naming the line."""
    ranks = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line:
            continue
        match = _LINE.fullmatch(line)
        if not match:
            raise UserError(f"line {number} is not base64, a space and a rank")
        try:
            token = base64.b64decode(match[1], validate=True)
        except binascii.Error:
            raise UserError(f"line {number} is not base64, a space and a rank") from None
        if token in ranks:
            raise UserError(f"line {number} has a token that was there before")
        ranks[token] = int(match[2])
    return ranks


def save(tokenizer, path):
    """Write the ranks; the pattern and the special tokens have no place in the file. Raises UserError."""
    check_plain(tokenizer, "a rank file")
    ranks = sorted(ranks_of(tokenizer.vocabulary).items(), key=lambda item: item[1])
    lines = [base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks]
    atomic_write_bytes(path, b"".join(lines))
