"""Draw texts to cut into pieces: short runs of characters of every class, and broken UTF-8."""

from hypothesis import strategies as st

from tinyllm.testing.arrays import CASES
from tinyllm.testing.edits import mistake

# Letters (small, capital, title, modifier, other), marks, numbers, white space, newlines, other, and what is
# in contractions. U+017F is a long s, which is an s where case does not matter.
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


FOUND = "regex.finditer(PATTERNS[pattern], in_this_version(decoded))"
ENDS = 'np.cumsum([len(piece.encode("utf-8", "surrogateescape")) for piece in pieces], dtype=np.int64)'
ASCII = ((r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", "A-Z"), (r"\p{Ll}\p{Lm}\p{Lo}\p{M}", "a-z"),
         (r"\s\p{L}", r"\sA-Za-z"), (r"\n\p{L}", r"\nA-Za-z"), (r"\p{L}", "[A-Za-z]"))


def with_pattern(*replacements):
    """Return an edit of split_pieces, as (old code, new code), that replaces parts of its pattern."""
    changes = "".join(f".replace({old!r}, {new!r})" for old, new in replacements)
    return FOUND, FOUND.replace("PATTERNS[pattern]", f"PATTERNS[pattern]{changes}")


mistake("split_pieces", "pieces cut by the pattern of GPT-2, whatever pattern was asked for",
        "PATTERNS[pattern]", "GPT2")
mistake("split_pieces", "contractions in small letters only: 'LL and 'S are contractions too, but for GPT-2",
        *with_pattern(("(?i:", "(?:")))
mistake("split_pieces", "several spaces that keep the last one, which belongs to the word behind them",
        *with_pattern((r"|\s+(?!\S)", "")))
mistake("split_pieces", "numbers in one piece, however long: only GPT-2 has no limit of digits",
        *with_pattern(("{1,3}", "+"), (r"|\p{N}|", r"|\p{N}+|")))
mistake("split_pieces", "letters of ASCII only: those of other alphabets are letters too",
        *with_pattern(*ASCII))
mistake("split_pieces", "ends counted in characters; they are counted in bytes",
        'len(piece.encode("utf-8", "surrogateescape"))', "len(piece)")
mistake("split_pieces", "the places where pieces start; those where they end are asked for", ENDS,
        f"({ENDS} - [len(piece.encode('utf-8', 'surrogateescape')) for piece in pieces]).astype(np.int64)")
mistake("split_pieces", "a text without the bytes that are not UTF-8; they must come back too", "",
        'text = bytes(text).decode("utf-8", "ignore").encode()')
