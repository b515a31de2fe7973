"""The normalizer `Precompiled`: sentencepiece's table of replacements, a trie packed into two numbers a node.

The file holds, in base64: the trie's size in bytes, the trie, and the replacements, each with a zero byte
after it. The trie is a double array (Aoe, "An efficient digital search algorithm by using a double-array
structure", IEEE Transactions on Software Engineering 15, 1989): a node is a position in one array, and its
child for a byte stands where the node's offset XOR the byte says, if the unit there carries that byte.

A grapheme, what a reader takes for one character (Unicode Standard Annex 29), is looked up whole if it has
fewer than six bytes, and otherwise character by character. Of several keys that a grapheme begins with, the
shortest gives the replacement *of all of it*: strange, but what models were trained on.
"""

import base64
import binascii
import re
from functools import cache

import numpy as np

from tinyllm.errors import UserError
from tinyllm.tokenizer.unicode import ranges

WHOLE = 6  # bytes: a grapheme that is shorter is looked up whole
LONGEST = 32  # characters of a replacement; of the compatibility forms of Unicode the longest has 18
CACHE = 2**14  # graphemes, and runs of plain ASCII
REMEMBERED = 64  # characters


class Charsmap:
    """The replacements of a charsmap, and the function that makes them."""

    def __init__(self, text):
        """text: the charsmap in base64. Raises UserError where it is cut, or its texts are no UTF-8."""
        try:
            data = base64.b64decode(text.encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError):
            raise UserError("the precompiled_charsmap is no base64") from None
        size = int.from_bytes(data[:4], "little")
        if len(data) < 4 or size % 4 or not 4 <= size <= len(data) - 4:
            raise UserError(f"the precompiled_charsmap of {len(data)} bytes cannot hold a trie of {size}")
        self._units = np.frombuffer(data, "<u4", size // 4, 4).tolist()
        self._texts = data[4 + size :]
        try:
            pieces = self._texts.decode().split("\0")
        except UnicodeDecodeError:
            raise UserError("the precompiled_charsmap has replacements that are no UTF-8") from None
        if max(map(len, pieces)) > LONGEST:
            raise UserError(f"the precompiled_charsmap has a replacement of more than {LONGEST} characters")
        self._known: dict = {}

    def normalize(self, text):
        """Replace every grapheme that begins with a key, and every other character that is one."""
        return graphemes().sub(self._remember, text)

    def _remember(self, match):
        found = match.group()
        new = self._known.get(found)
        if new is None:
            new = self._replace(found)
            if len(found) <= REMEMBERED:
                if len(self._known) >= CACHE:
                    self._known.clear()
                self._known[found] = new
        return new

    def _replace(self, found):
        several = found.isascii() and found != "\r\n"
        if not several and len(found.encode()) < WHOLE and (new := self.lookup(found.encode())) is not None:
            return new
        return "".join(map(self._character, found))

    def _character(self, character):
        new = self.lookup(character.encode())
        return character if new is None else new

    def lookup(self, key):
        """The replacement of the shortest key that these bytes begin with, or None. Raises UserError."""
        units = self._units
        try:
            at = _offset(units[0])
            for byte in key:
                if byte == 0:
                    return None
                at ^= byte
                unit = units[at]
                if unit & 0x800000FF != byte:
                    return None
                at ^= _offset(unit)
                if unit >> 8 & 1:
                    return self._text(units[at] & 0x7FFFFFFF)
        except IndexError:
            raise UserError("the precompiled_charsmap has a trie that points outside of itself") from None
        return None

    def _text(self, start):
        if start > len(self._texts):
            raise IndexError
        end = self._texts.find(b"\0", start)
        try:
            return self._texts[start : end if end >= 0 else None].decode()
        except UnicodeDecodeError:
            raise UserError("a replacement of the precompiled_charsmap begins inside a character") from None


def _offset(unit):
    return unit >> 10 << ((unit & 0x200) >> 6)


@cache
def graphemes():
    """A pattern that matches the graphemes of a text one after the other, plain ASCII several at once.

    It hardly ever takes a choice back, so its time grows with the text.
    """
    extend, spacing, control, prepend = map(ranges, ("extend", "spacing", "control", "prepend"))
    picture, consonant, linker = map(ranges, ("pictograph", "consonant", "linker"))
    joins = rf"[{extend}{spacing}\u200d]"
    anything = rf"(?:(?!\u200c)[{extend}{linker}\u200d])"  # between two consonants that a linker joins
    conjunct = rf"[{consonant}](?:(?:(?![{linker}]){anything})*+[{linker}]{anything}*+[{consonant}])*+"
    pictures = rf"[{picture}](?:[{extend}]*+\u200d[{picture}])*+"
    flag = r"[\U0001f1e6-\U0001f1ff]{2}"
    core = rf"(?:{conjunct}|{pictures}|{_syllable()}|{flag}|[^{control}])"
    cluster = rf"[{prepend}]*+{core}{joins}*+|[{prepend}]++{joins}*+"
    return re.compile(rf"[ -~]+(?=[\0-\x7f]|\Z)|\r\n|[{control}]|{cluster}")


def _syllable():
    """A pattern of a Korean syllable in letters: leading consonants, vowels, trailing ones."""
    leading, trailing = r"[\u1100-\u115f\ua960-\ua97c]", r"[\u11a8-\u11ff\ud7cb-\ud7fb]"
    vowel = r"[\u1160-\u11a7\ud7b0-\ud7c6\U00016d63\U00016d67-\U00016d6a]"
    opened = "[" + "".join(map(chr, range(0xAC00, 0xD7A4, 28))) + "]"  # those without a trailing consonant
    whole = rf"(?:{opened}{vowel}*+|{vowel}++|[\uac00-\ud7a3])"
    return rf"{leading}*+{whole}{trailing}*+|{leading}++|{trailing}++"
