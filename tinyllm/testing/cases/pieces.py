"""Cases of splitting: characters of every class, in short runs, next to each other, whole and broken."""

from hypothesis import strategies as st

# Letters (small, capital, title, modifier, other), marks, numbers, white space, newlines, other, and what is
# in contractions. U+017F is a long s, which is an s where case does not matter.
CHARACTERS = (
    *"asltmdrevLSTEVRDMZ", "é", "Ж", "ǅ", "ʰ", "ª", "中", "\u017f", "\u0301", "\u0903", *"1", "٣", "½", "𝟙",
    *" \t\v\x1c", "\u0085", "\u00a0", "\u2028", "\u3000", "\n", "\r", *"''!_/", "“", "\u200b", "\u2019", "😀",
)  # fmt: skip
WORDS = ("it's", "HE'LL", "I've", "x'\u017f", "camelCase", "a1b22", "1234567", "e\u0301", "\r\n\r\n", " \n ",
         "   ", "//\n/")  # fmt: skip
BROKEN = (b"\xff", b"\x80", b"\xc3", b"\xed\xa0\x80", b"\xe2\x82", b"\xf0\x9f\x98", b"\xf4\x90\x80\x80",
          b"\xc0\xaf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf")  # fmt: skip

characters = st.sampled_from([each.encode() for each in CHARACTERS])
parts = st.one_of(characters, characters, st.sampled_from([each.encode() for each in WORDS]),
                  st.sampled_from(BROKEN), st.characters(codec="utf-8").map(str.encode))  # fmt: skip
few = st.lists(characters, min_size=2, max_size=4).flatmap(lambda some: st.lists(st.sampled_from(some)))
texts = st.one_of(st.lists(parts), few, st.lists(st.binary(max_size=4), max_size=5)).map(b"".join)


@st.composite
def cut_anywhere(draw):
    """A text of which some bytes are missing at both ends."""
    text = draw(texts)
    return text[draw(st.integers(0, 3)) : len(text) - draw(st.integers(0, 3))]


patterns = st.sampled_from(("gpt2", "gpt4", "o200k"))
CASES = {"split_pieces": st.tuples(st.one_of(texts, cut_anywhere()), patterns)}
BOUNDS: dict = {}
