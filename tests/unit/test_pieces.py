"""Compare the splitting in C with the package `regex` on systematic lists of texts, UTF-8 or not.

Both use the character classes of Unicode 16.0. test_ops.py tries random texts.
"""

from itertools import product

import numpy as np
import pytest
import regex
from helpers import refuses
from hypothesis import given, settings, strategies as st

from tinyllm.ops.pieces import PATTERNS, split_pieces
from tinyllm.ops.registry import _compiled
from tinyllm.ops.unicode import in_this_version
from tinyllm.testing.pieces import BROKEN, CHARACTERS, cut_anywhere, texts

pytestmark = pytest.mark.skipif(_compiled is None, reason="the kernels are not built")
EVERY = pytest.mark.parametrize("pattern", PATTERNS)
CLASSES = {1: r"[\p{Lu}\p{Lt}]", 2: r"\p{Ll}", 4: r"[\p{Lm}\p{Lo}]", 8: r"\p{M}", 16: r"\p{N}",
           32: r"[^\S\r\n]", 64: r"[\r\n]", 128: r"[^\s\p{L}\p{M}\p{N}]"}
EVERYTHING = "".join(map(chr, range(0x110000)))


def in_c(text, pattern):
    return _compiled.split_pieces(text, pattern).tolist()


def check_equal(text, pattern):
    """Check that the kernel cuts a text in the same places as the specification, which uses `regex`."""
    assert in_c(text, pattern) == split_pieces.reference(text, pattern).tolist(), text[:200]


def test_kernels_specs_and_regex_know_the_same_version_of_unicode():
    """A later `regex` must class all characters alike, if newer ones are replaced by unassigned ones."""
    shown = in_this_version(EVERYTHING)
    want = np.zeros(0x110000, np.uint8)
    for bit, pattern in CLASSES.items():
        for run in regex.finditer(f"{pattern}+", shown):
            want[run.start() : run.end()] = bit
    wrong = [f"U+{c:04X}" for c in np.flatnonzero(_compiled.piece_classes() != want)]
    assert not wrong, f"regex {regex.__version__} has other classes for {wrong[:5]}; see ops/unicode.py"


@EVERY
@pytest.mark.parametrize("newer", ["\U000191a4", "\U00010940", "\U00016ea0", "\u0295"])
def test_letters_of_later_versions_are_no_letters(pattern, newer):
    """To tiktoken and tokenizers such a character is no letter, so an apostrophe after it joins it."""
    text = f"{newer}'s {newer}x".encode()
    check_equal(text, pattern)
    with_a_sign = len(newer.encode()) + 1 in in_c(text, pattern)
    assert with_a_sign == (newer != "\u0295")  # an apostrophe joins signs


def utf8_limits():
    """Try bytes at the limits of UTF-8. A letter after them joins one sign, but no longer run of signs."""
    edges = (0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0)
    forms = list(map(bytes, product(range(0x80, 0x100), edges, (0x7F, 0x80, 0xBF, 0xC0), (0x7F, 0x80, 0xBF))))
    return (b"".join(form[:length] + b"b1" for form in forms) for length in (1, 2, 3, 4))


def characters_among_others():
    """Put every character after an apostrophe, and many between letters, spaces and digits."""
    yield "'".join(EVERYTHING).encode("utf-8", "surrogatepass")
    yield bytes(byte for pair in product(range(0x80), repeat=2) for byte in pair)
    some = EVERYTHING[:0x1000] + EVERYTHING[0x1000::97]  # all would take minutes
    for form in ("{}", "a{}", "{}b ", "'{} ", "x'{}e", " {}\n", "{}A1", "A{}\u0301"):
        yield "".join(map(form.format, some)).encode("utf-8", "surrogatepass")


def orders_of_classes():
    """Try all rows of 3 classes, of 5 classes from o200k's words, and of 5 classes around white space."""
    all_of_them = ("s", "L", "ʰ", "\u0301", "1", " ", "\u3000", "\n", "'", "/", "😀", "\udcff")
    words, blanks = ("s", "L", "ʰ", "\u0301", "'"), ("s", " ", "\u3000", "\n", "/")
    for length, some in ((3, all_of_them), (5, words), (5, blanks)):
        yield from ("".join(each).encode("utf-8", "surrogateescape") for each in product(some, repeat=length))


def contractions():
    for before, a, b in product(["", "x", "'", " ", "\u0301"], *["sSdDmMtTlLvVrReE\u017fx"] * 2):
        yield f"{before}'{a}{b}' {before}'{a}".encode()


def hostile():
    """Yield long texts on which backtracking, or reading a run again, takes quadratic time."""
    for some in (*"aA1 \n'\0😀\u0301", "中A", "\u0301A", "\u0301A!", "'s", "!\n/"):
        yield some.encode() * 30_000
    yield b"\xf0\x9f\x98" * 30_000
    yield (b" " * 1000 + b"\n") * 100 + b" " * 1000 + b"x"
    for some in (" " * 99_999 + "a", "\u3000" * 50_000 + "x", "中" + "A" * 99_999, "\u0301" + "A" * 99_999):
        yield some.encode()


@EVERY
@pytest.mark.parametrize(
    "texts", [utf8_limits, characters_among_others, orders_of_classes, contractions, hostile])
def test_pieces_of_every_text_of_a_kind(pattern, texts):
    for text in texts():
        check_equal(text, pattern)


def test_split_pieces_takes_bytes_and_known_patterns():
    for same in (bytearray(b"it's"), memoryview(b"it's"), memoryview(b"ixtx'xsx")[::2]):
        assert in_c(same, "gpt4") == [2, 4]
    for call in (split_pieces.reference, _compiled.split_pieces):
        refuses("encode", call, "it's", "gpt4", error=TypeError)
        refuses("o200k, qwen2, not 'words'", call, b"it's", "words", error=ValueError)


def check_cuts(text):
    """Check that at each cut, the two sides split alone have the pieces of the whole text."""
    for place in {_compiled.piece_cut(text, start) for start in range(len(text) + 2)}:
        for pattern in PATTERNS:
            after = [place + end for end in in_c(text[place:], pattern)]
            assert in_c(text[:place], pattern) + after == in_c(text, pattern), (text, place, pattern)


@settings(max_examples=300)
@given(st.one_of(texts, cut_anywhere()))
def test_both_sides_of_a_cut_can_be_split_alone(text):
    check_cuts(text)


def test_both_sides_of_a_cut_between_any_two_characters():
    some = [c.encode() for c in CHARACTERS] + list(BROKEN)
    for a, b in product(some, repeat=2):
        for text in (a + b, a + a + b + b, b"'" + a + b + b"l"):
            check_cuts(text)
