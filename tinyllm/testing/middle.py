"""Provide test cases, common mistakes and correct variants for moving the middle of a text."""

import itertools

from hypothesis import strategies as st

from tinyllm.testing.arrays import CASES
from tinyllm.testing.edits import mistake, variant

texts = st.text(st.sampled_from("abc (\n\u00e9\U0001f642"), max_size=12)
draws = st.sampled_from((0.5, 0.0, 0.25, 0.999999, 0.1, 0.9, 1 / 3))
tokens = st.lists(st.integers(0, 9), max_size=6)
sides = st.one_of(tokens, *(st.lists(st.integers(0, 9), min_size=n, max_size=2 * n + 1) for n in (4, 1)))
few, many = (st.lists(st.integers(0, 9), min_size=least, max_size=most) for least, most in ((1, 2), (4, 9)))
rooms = st.sampled_from((5, 3, 0, 1, 2, 4, 6, 7, 9, 13))
MARKERS = (100, 101, 102, 103), (7, 5, 300, 0)  # also markers that look like tokens

CASES |= {
    "split_middle": st.tuples(texts, st.tuples(draws, draws)),
    "move_middle": st.tuples(tokens, tokens, tokens, st.sampled_from(MARKERS), st.booleans()),
    "trim_sides": st.one_of(  # often a side that is short, but not empty, beside one that has to be cut
        st.tuples(sides, sides, rooms), st.tuples(few, many, rooms), st.tuples(many, few, rooms)
    ),
}

PLACES = "sorted(int(u * (len(text) + 1)) for u in draws)"
PSM = "[begin, *prefix, between, *suffix, last, *middle, end]"
SPM = "[begin, between, *suffix, last, *prefix, *middle, end]"
AFTER = "max(room // 2, room - len(prefix))"
KEPT = "prefix[max(len(prefix) - before, 0) :]"

mistake("split_middle", "a middle whose end is drawn from what follows its beginning, so that late places "
        "are likelier", PLACES, "[begin := int(draws[0] * (len(text) + 1)), "
        "begin + int(draws[1] * (len(text) - begin + 1))]")
mistake("split_middle", "places rounded to the nearest, so that the first and the last are half as likely",
        "int(u * (len(text) + 1))", "round(u * len(text))")
mistake("split_middle", "places counted in bytes, not in characters", "len(text) + 1",
        "len(text.encode()) + 1")
mistake("move_middle", "the text as it was, with markers between its parts: the middle must come last", PSM,
        "[begin, *prefix, last, *middle, between, *suffix, end]")
mistake("move_middle", "SPM with the marker of the middle behind the prefix, which splits what should be one "
        "run of text", SPM, "[between, *suffix, begin, *prefix, last, *middle, end]")
mistake("move_middle", "SPM as PSM with the two sides exchanged: the prefix must stand before the middle",
        SPM, "[begin, *suffix, between, *prefix, last, *middle, end]")
mistake("trim_sides", "the beginning of the prefix, not its end, which is next to the gap", KEPT,
        "prefix[:before]")
mistake("trim_sides", "the end of the suffix, not its beginning, which is next to the gap",
        "suffix[:after]", "suffix[max(len(suffix) - after, 0) :]")
mistake("trim_sides", "half of the room for each side, also if the other leaves room over", AFTER,
        "room // 2", "room - len(suffix)", "room - room // 2")
mistake("trim_sides", "all the room for the prefix first, and what is left for the suffix", AFTER,
        "max(0, room - len(prefix))")
mistake("trim_sides", "all the room for the suffix first, and what is left for the prefix", AFTER, "room")
mistake("trim_sides", "the odd token given to the suffix", "room // 2", "(room + 1) // 2")
mistake("trim_sides", "all of the prefix where there is no room: `prefix[-0:]` is everything", KEPT,
        "prefix[-before:]")
mistake("trim_sides", "room for each side, twice as many tokens as there is room", AFTER, "room",
        "room - len(suffix)", "room")


@variant("split_middle")
def split_middle_by_iterators(text, draws):
    letters = iter(text)
    first, second = (int(u * (len(text) + 1)) for u in draws)
    sizes = min(first, second), abs(first - second), len(text)
    return tuple("".join(itertools.islice(letters, size)) for size in sizes)


@variant("move_middle")
def move_middle_by_adding_lists(prefix, middle, suffix, markers, suffix_first):
    p, s, m, e = ([marker] for marker in markers)
    prefix, middle, suffix = list(prefix), list(middle), list(suffix)
    start = p + s + suffix + m + prefix if suffix_first else p + prefix + s + suffix + m
    return start + middle + e


@variant("trim_sides")
def trim_sides_one_token_at_a_time(prefix, suffix, room):
    prefix, suffix = list(prefix), list(suffix)
    while len(prefix) + len(suffix) > room:
        if len(prefix) > len(suffix):
            prefix = prefix[1:]
        else:
            suffix = suffix[:-1]
    return prefix, suffix
