"""The mistakes that people really make in splitting text, one at a time."""

import numpy as np
import regex

from tinyllm.ops.pieces import PATTERNS, split_pieces
from tinyllm.testing.mistake import mistake

right = split_pieces.reference


def split_with(text, pattern, errors="surrogateescape"):
    """The right loop around a pattern that may be wrong."""
    pieces = regex.findall(pattern, text.decode("utf-8", errors))
    return np.cumsum([len(piece.encode("utf-8", errors)) for piece in pieces], dtype=np.int64)


@mistake("split_pieces", "pieces cut by the pattern of GPT-2, whatever pattern was asked for")
def split_as_gpt2(text, pattern):
    return right(text, "gpt2")


@mistake("split_pieces", "contractions in small letters only: 'LL and 'S are contractions too, but for GPT-2")
def split_finds_small_contractions_only(text, pattern):
    return split_with(text, PATTERNS[pattern].replace("(?i:", "(?:"))


@mistake("split_pieces", "several spaces that keep the last one, which belongs to the word behind them")
def split_keeps_the_last_space(text, pattern):
    return split_with(text, PATTERNS[pattern].replace(r"|\s+(?!\S)", ""))


@mistake("split_pieces", "numbers in one piece, however long: only GPT-2 has no limit of three digits")
def split_never_cuts_numbers(text, pattern):
    return split_with(text, PATTERNS[pattern].replace("{1,3}", "+"))


@mistake("split_pieces", "letters of ASCII only: those of other alphabets are letters too")
def split_knows_ascii_letters_only(text, pattern):
    source = PATTERNS[pattern]
    for name, letters in ((r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", "A-Z"), (r"\p{Ll}\p{Lm}\p{Lo}\p{M}", "a-z")):
        source = source.replace(name, letters)
    return split_with(text, source.replace(r"\p{L}", "A-Za-z").replace(" ?A-Za-z+", " ?[A-Za-z]+")
                      .replace("]?A-Za-z+", "]?[A-Za-z]+"))  # fmt: skip


@mistake("split_pieces", "ends counted in characters; they are counted in bytes")
def split_counts_characters(text, pattern):
    pieces = regex.findall(PATTERNS[pattern], text.decode("utf-8", "surrogateescape"))
    return np.cumsum([len(piece) for piece in pieces], dtype=np.int64)


@mistake("split_pieces", "the places where pieces start; those where they end are asked for")
def split_gives_starts(text, pattern):
    ends = right(text, pattern)
    return np.concatenate([[0], ends[:-1]]).astype(np.int64) if ends.size else ends


@mistake("split_pieces", "a text without the bytes that are not UTF-8; they must come back too")
def split_drops_broken_bytes(text, pattern):
    return split_with(text, PATTERNS[pattern], "ignore")
