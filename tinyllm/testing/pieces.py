"""Draw texts to cut into pieces: short runs of characters of every class, and broken UTF-8."""

from hypothesis import strategies as st

from tinyllm.testing.arrays import CASES

# Letters (small, capital, title, modifier, other), marks, numbers, white space, newlines, others, and those
# of contractions. U+017F is a long s; a pattern that ignores case matches it as s.
CHARACTERS = (
    *"asltmdrevLSTEVRDMZ", "é", "Ж", "ǅ", "ʰ", "ª", "中", "\u017f", "\u0301", "\u0903", *"1", "٣", "½", "𝟙",
    *" \t\v\x1c", "\u0085", "\u00a0", "\u2028", "\u3000", "\n", "\r", *"''!_/", "“", "\u200b", "\u2019", "😀",
)
WORDS = ("it's", "HE'LL", "I've", "x'\u017f", "camelCase", "a1b22", "1234567", "e\u0301", "\r\n\r\n", " \n ",
         "   ", "//\n/")
BROKEN = (b"\xff", b"\x80", b"\xc3", b"\xed\xa0\x80", b"\xe2\x82", b"\xf0\x9f\x98", b"\xf4\x90\x80\x80",
          b"\xc0\xaf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf")

characters = st.sampled_from([each.encode() for each in CHARACTERS])
parts = st.one_of(characters, characters, st.sampled_from([each.encode() for each in WORDS]),
                  st.sampled_from(BROKEN), st.characters(codec="utf-8").map(str.encode))
few = st.lists(characters, min_size=2, max_size=4).flatmap(lambda some: st.lists(st.sampled_from(some)))
texts = st.one_of(st.lists(parts), few, st.lists(st.binary(max_size=4), max_size=5)).map(b"".join)


@st.composite
def cut_anywhere(draw):
    """Draw the bytes of a text; its first or last character may be incomplete."""
    text = draw(texts)
    return text[draw(st.integers(0, 3)) : len(text) - draw(st.integers(0, 3))]


patterns = st.sampled_from(("gpt2", "gpt4", "o200k", "qwen2"))
CASES["split_pieces"] = st.tuples(st.one_of(texts, cut_anywhere()), patterns)
