"""Encode texts, and keep the tokens of texts that are larger than memory in files.

A token file holds a header (magic, bytes per token, count, CRC-32 of the rest, SHA-256 of the tokenizer) and
the tokens, little-endian.
"""

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinyllm.errors import UserError
from tinyllm.files import atomic_write, open_regular, open_unchanged, state_of

HEADER = struct.Struct("<8sIQI32s")
MAGIC = b"tinytok2"  # raise the digit when a change of tinyllm gives other tokens for the same text
CHUNK = 2**24  # how many bytes of a file are read at once


@dataclass(frozen=True, eq=False)
class TokenFile:
    """Read the tokens of a file as one reads an array (n,) of uint16 or uint32, without loading them all.

    `tokens[a:b]` is another TokenFile, and `np.asarray` reads what it stands for. The file is not mapped:
    when another program shortens a mapped file, the system kills the process that reads it. Raises UserError
    once the file has changed, because its tokens would then be of another text than those that were checked.
    """

    path: Any
    dtype: np.dtype
    made_by: str  # the fingerprint of the tokenizer that made the tokens
    state: tuple[int, ...]  # of the file when it was checked: see `state_of`
    begin: int  # of this part, in tokens
    end: int

    ndim = 1
    shape = property(lambda self: (len(self),))
    nbytes = property(lambda self: len(self) * self.dtype.itemsize)

    def __len__(self):
        return self.end - self.begin

    def __getitem__(self, part: Any) -> Any:
        if not isinstance(part, slice):
            return np.asarray(self[part : part + 1 or None])[0]
        first, last, _ = part.indices(len(self))
        return replace(self, begin=self.begin + first, end=self.begin + max(first, last))

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        with open_unchanged(self.path, self.state) as f:
            f.seek(HEADER.size + self.begin * self.dtype.itemsize)
            raw = f.read(self.nbytes)
        return np.frombuffer(raw, self.dtype).astype(dtype or self.dtype)

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield the tokens in arrays of at most CHUNK bytes."""
        size = CHUNK // self.dtype.itemsize
        yield from (np.asarray(self[i : i + size]) for i in range(0, len(self), size))


def token_array(data: Any, tokenizer: Any) -> Any:
    """Encode a text -> array (n,), uint16 or uint32.

    If `data` is an array of tokens or a TokenFile already (see `Corpus.tokens`), it is checked and returned.
    Raises UserError if the tokenizer cannot encode the text, or a token is not in the vocabulary.
    """
    if isinstance(data, TokenFile):
        for part in data.chunks():
            token_array(part, tokenizer)
        return data
    if isinstance(data, np.ndarray):
        if (largest := int(data.max(initial=0))) >= tokenizer.vocab_size:
            last = tokenizer.vocab_size - 1
            raise UserError(f"the data holds token {largest}, and the last token of this tokenizer is {last}")
        return data
    return np.ascontiguousarray(tokenizer.encode_to_numpy(data), dtype=_dtype(tokenizer))


def token_file(path: Any, tokenizer: Any, out: Any, progress: Callable | None = None) -> TokenFile:
    """Encode a file that may be larger than memory -> its tokens (n,), which are read from the file `out`.

    `load_tokens` opens it again. `progress(done, total)` counts encoded bytes. Raises UserError if the file
    cannot be read, changes while it is read, or its tokens cannot be written.
    """
    dtype, made_by = _dtype(tokenizer), bytes.fromhex(tokenizer.fingerprint())
    count, crc = 0, zlib.crc32(made_by)
    with atomic_write(out) as f, open_unchanged(path) as file:
        total = os.fstat(file.fileno()).st_size
        f.write(HEADER.pack(MAGIC, dtype.itemsize, 0, 0, made_by))
        for part in tokenizer.encode_file(file):
            raw = np.asarray(part, dtype).tobytes()
            count, crc = count + len(part), zlib.crc32(raw, crc)
            f.write(raw)
            if progress:
                progress(file.tell(), total)
        f.seek(0)
        f.write(HEADER.pack(MAGIC, dtype.itemsize, count, crc, made_by))
    return load_tokens(out)


def holds_tokens(path: Any) -> bool:
    """Return True if the path is a file that begins like a token file."""
    try:
        with open_regular(path) as f:
            return f.read(len(MAGIC)) == MAGIC
    except UserError:
        return False


def load_tokens(path: Any) -> TokenFile:
    """Open a file that `token_file` wrote with `out` -> its tokens (n,), of uint16 or uint32.

    Raises UserError if the file is missing, cut short or damaged in any byte.
    """
    with open_regular(path) as f:
        header = f.read(HEADER.size).ljust(HEADER.size, b"\0")
        magic, width, count, crc, made_by = HEADER.unpack(header)
        size = os.fstat(f.fileno()).st_size
        whole = magic == MAGIC and width in (2, 4) and size == HEADER.size + count * width
        found = zlib.crc32(made_by)
        while whole and (chunk := f.read(CHUNK)):
            found = zlib.crc32(chunk, found)
        if not whole or found != crc:
            raise UserError(f"{path} is damaged, or not a token file; "
                            "`tinyllm tokenizer encode --out` writes one")
        return TokenFile(path, np.dtype(f"<u{width}"), made_by.hex(), state_of(f), 0, count)


def _dtype(tokenizer):
    return np.dtype("<u2" if tokenizer.vocab_size <= 2**16 else "<u4")
