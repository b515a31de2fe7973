"""Numbers from 0 to 1 as a small picture: a PNG with sixteen shades of one colour, from clear to full.

What is not there is transparent, so that the picture fits on light paper and on dark. (PNG specification,
third edition, W3C 2025: a header, a palette with its opacities, and the pixels, compressed.)
"""

import base64
import struct
import zlib

import numpy as np

SHADES = 16
COLOUR = (74, 134, 200)  # blue, readable on white and on black


def png(x):
    """Draw an array of numbers in [0, 1], a pixel each: x (rows, columns) -> the bytes of a PNG file."""
    rows, columns = x.shape
    shade = np.rint(np.clip(x, 0, 1) * (SHADES - 1)).astype(np.uint8)
    if columns % 2:
        shade = np.pad(shade, ((0, 0), (0, 1)))  # two pixels share a byte
    packed = np.pad(shade[:, 0::2] << 4 | shade[:, 1::2], ((0, 0), (1, 0)))  # 0 in front: an unfiltered row
    opacity = bytes(round(255 * i / (SHADES - 1)) for i in range(SHADES))
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 4, 3, 0, 0, 0)),  # 4 bits, with a palette
        (b"PLTE", bytes(COLOUR) * SHADES),
        (b"tRNS", opacity),
        (b"IDAT", zlib.compress(packed.astype(np.uint8).tobytes(), 9)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def _chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def data_url(x):
    """The same as an address that holds the picture itself -> str."""
    return "data:image/png;base64," + base64.b64encode(png(x)).decode()


def shrink(x, side):
    """Make a square of at most `side` pixels a side: each is the largest of those that it stands for."""
    n = len(x)
    if n <= side:
        return x
    step = -(-n // side)
    padded = np.pad(x, ((0, -n % step), (0, -n % step)))
    k = len(padded) // step
    return padded.reshape(k, step, k, step).max(axis=(1, 3))
