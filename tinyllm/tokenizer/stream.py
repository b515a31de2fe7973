"""Texts that are larger than memory: read in blocks that are cut where nothing that belongs together is cut.

So whoever counts or encodes the blocks one after the other gets what the whole text would give.
"""

from tinyllm.errors import UserError

BLOCK = 2**24  # bytes
LARGEST = 2**30  # of text that cannot be cut


def blocks(file, last_cut, size=BLOCK):
    """Read a binary file -> iterator of bytes, each of about `size`.

    last_cut(data) says where some bytes can be cut, whatever stands before and after them: the last such
    place, or 0. Where there is none, a block grows until there is one. Raises UserError beyond LARGEST.
    """
    held, n = [], 0
    while chunk := file.read(size):
        if not isinstance(chunk, bytes):
            raise TypeError("a text is read from a file opened in binary mode: open(path, 'rb')")
        if at := last_cut(chunk):
            yield b"".join([*held, chunk[:at]])
            held, n, chunk = [], 0, chunk[at:]
        held.append(chunk)
        n += len(chunk)
        if n > LARGEST:
            raise UserError(f"the text has no place to cut it in {LARGEST / 2**30:g} GiB; take a part of it")
    if n:
        yield b"".join(held)
