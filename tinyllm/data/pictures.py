"""Read a picture from a PPM file or from a generated corpus with pictures."""

import re
from pathlib import Path

import numpy as np

from tinyllm.data.sources import load_corpus
from tinyllm.errors import UserError
from tinyllm.files import read_bytes
from tinyllm.world.corpus import PREFIX

LARGEST = 1 << 24  # bytes
HEADER = re.compile(rb"P6\s+(?:#[^\n]*\n\s*)*(\d{1,5})\s+(\d{1,5})\s+255\s")


def read_picture(where: str) -> np.ndarray:
    """Read a picture -> uint8 (H, W, 3): red, green and blue of each pixel.

    `where` is a PPM file of type P6, or the name of a generated corpus with pictures, such as
    world:caption,split=test,seed=3; its first picture is returned. Raises UserError for anything else.
    """
    if where.startswith(PREFIX):
        if not (shown := load_corpus(re.sub(r",n=\d+", "", where) + ",n=1").shown):
            raise UserError(f"{where} is about no pictures: take world:caption or world:picture_question")
        return shown[0][0]
    data = read_bytes(Path(where), LARGEST)
    header = HEADER.match(data)
    width, height = map(int, header.groups()) if header else (0, 0)
    if not header or len(data) - header.end() != width * height * 3:
        raise UserError(f"{where} is not a whole PPM file (P6 with 255 levels): write one with GIMP")
    return np.frombuffer(data, np.uint8, offset=header.end()).reshape(height, width, 3)
