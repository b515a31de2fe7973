"""Convert texts to bytes and back, find names of special tokens in texts, and read large files in blocks."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import BinaryIO

from tinyllm.errors import UserError

Text = str | bytes | bytearray | memoryview
LONGEST_NAME = 512  # the most characters of a name, so that a file cannot make the search slow
MOST_NAMES = 2**22  # the most characters of all names together
BLOCK = 2**24  # how many bytes of a file are read at a time
LARGEST_BLOCK = 2**30  # the most bytes of text without a place to cut it


def bytes_from_text(text: Text) -> bytes:
    """Return the UTF-8 bytes of a str; return bytes unchanged. Raises UserError for a lone surrogate."""
    if isinstance(text, str):
        try:
            return text.encode()
        except UnicodeEncodeError as e:
            raise UserError(f"the text holds {text[e.start]!r}, half a character or a byte that is not "
                            "UTF-8: take it out, or give the text as bytes") from None
    if isinstance(text, (bytes, bytearray, memoryview)):
        return bytes(text)
    raise TypeError(f"a text is str or bytes, not {type(text).__name__}")


def text_keeping_bytes(text: Text) -> str:
    """Decode UTF-8; a byte that is not UTF-8 becomes a lone surrogate (PEP 383)."""
    return bytes_from_text(text).decode("utf-8", "surrogateescape")


def check_names(names: Iterable[str]) -> list[str]:
    """Return names of special tokens as a list. Raises UserError if one is empty, repeated or too long."""
    if isinstance(names, str):
        raise TypeError(f"special_tokens is a list of names: write [{names!r}], not {names!r}")
    names = list(names)
    for name in names:
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            raise UserError(f"a special token has 1 to {LONGEST_NAME} characters, not {repr(name)[:40]}")
        bytes_from_text(name)  # raises UserError for a lone surrogate
    if len(set(names)) < len(names):
        raise UserError(f"the special token {Counter(names).most_common(1)[0][0][:40]!r} is listed twice")
    if sum(map(len, names)) > MOST_NAMES:
        raise UserError(f"the special tokens have more than {MOST_NAMES} characters together")
    return names


def cut_at_names(text: bytes, ids: dict[bytes, int]) -> Iterator[bytes | int]:
    """Cut a text at names {name: id}, the longest if several fit: yield the ids, and the parts between."""
    done = 0
    for match in _any_of(tuple(ids)).finditer(text) if ids else ():
        yield text[done : match.start()]
        yield ids[match[0]]
        done = match.end()
    yield text[done:]


@lru_cache(maxsize=64)
def _any_of(names):
    """Compile a pattern of names; of several that fit in one place, the longest."""
    return re.compile(b"|".join(map(re.escape, sorted(names, key=len, reverse=True))))


def blocks(file: BinaryIO, last_cut: Callable[[bytes], int]) -> Iterator[bytes]:
    """Read a binary file that may be larger than memory -> iterator of bytes, about BLOCK at a time.

    last_cut(data) returns the last position where bytes can be cut, or 0; it must not depend on the bytes
    before or after data. A block grows until it can be cut. Raises UserError beyond LARGEST_BLOCK.
    """
    held: list[bytes] = []
    while chunk := file.read(BLOCK):
        if at := last_cut(chunk):
            yield b"".join([*held, chunk[:at]])
            held, chunk = [], chunk[at:]
        held.append(chunk)
        if sum(map(len, held)) > LARGEST_BLOCK:
            raise UserError(f"the text has no place to cut it in {LARGEST_BLOCK} bytes; take a part of it")
    if any(held):
        yield b"".join(held)
