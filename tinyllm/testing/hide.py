"""Provide test cases, common mistakes and correct variants for hiding tokens, spans and middles of texts."""

import itertools

import numpy as np
from hypothesis import strategies as st

from tinyllm.rng import Random
from tinyllm.testing.arrays import CASES, cases, ints, leading, seeds
from tinyllm.testing.edits import mistake, variant

lengths = st.sampled_from((2, 1, 3, 5, 9, 40))


@cases("mask_tokens")
def mask_tokens(draw):
    """Draw texts and two random numbers per token; some numbers are exactly 0.8, 0.9 or the rate."""
    shape, rate = (*draw(leading), draw(lengths)), draw(st.sampled_from((0.5, 0.15, 0.9)))
    rng = Random(draw(seeds), "masks")
    draws, how = rng.uniform(shape), rng.uniform(shape)
    if draw(st.booleans()):
        draws[..., 1:] *= rate  # so that these are hidden
        draws[..., :1], how[..., 2:3], how[..., -1:], how[..., 1:2] = rate, 0.82, 0.9, 0.8
    tokens, other = (ints(draw, shape, 21).astype(np.int64) for _ in range(2))  # as np.full makes them
    return tokens, draws, how, other, 20, rate


@cases("corrupt_spans")
def corrupt_spans(draw):
    """Draw a text, the lengths of its kept and hidden spans, and sentinel ids for the gaps: 99, 98, ..."""
    count, rng = draw(st.sampled_from((1, 2, 3, 6))), Random(draw(seeds), "spans")
    kept, hidden = (rng.integers(5, count) for _ in range(2))
    tokens = ints(draw, (int(kept.sum() + hidden.sum()),), 50).astype(np.int64)
    return tokens, kept, hidden, 99 - np.arange(count + 1)


CHANGED = "np.where(how < 0.8, mask, np.where(how < 0.9, other, tokens))"
TARGETS = "np.where(chosen, tokens, IGNORED)"
SPANS = "zip(marks[:-1], pieces[0::2], pieces[1::2], strict=True)"

mistake("mask_tokens", "every hidden token replaced by mask, none by another token or by itself", CHANGED,
        "mask")
for said, where in (("became mask: the other 20 % count", "how < 0.8"),
                    ("changed: those that stay count", "changed != tokens"),
                    ("is replaced, how < 0.9: those that stay count", "how < 0.9")):
    mistake("mask_tokens", f"targets only where the token {said} as well", TARGETS,
            f"np.where(chosen & ({where}), tokens, IGNORED)")
mistake("mask_tokens", "the shares of the whole text, not of the hidden tokens: rate, then 0.8 of it",
        CHANGED, "np.where(draws < 0.8 * rate, mask, np.where(draws < 0.9 * rate, other, tokens))")
mistake("mask_tokens", "the hidden tokens left, and all others hidden", "draws < rate", "draws >= rate")
mistake("mask_tokens", "mask for 90 % and another token for 10 %: no hidden token stays", CHANGED,
        "np.where(how < 0.9, mask, other)")
mistake("mask_tokens", "how < 0.1 for the 10 %: another token belongs where how is from 0.8 to 0.9", CHANGED,
        "np.where(how < 0.1, other, np.where(how < 0.8, mask, tokens))")
mistake("mask_tokens", "targets taken from the tokens after they were replaced", TARGETS,
        "np.where(chosen, changed, IGNORED)")
mistake("corrupt_spans", "the same sentinel for every span", SPANS,
        "zip(marks[:1] * len(kept), pieces[0::2], pieces[1::2], strict=True)")
for said, *change in (
        ("a sentinel for every hidden token, not for every span", "[stays, mark]",
         "[stays, mark.repeat(len(goes))]"),
        ("each sentinel read before the kept tokens, not after them", "[stays, mark]", "[mark, stays]"),
        ("each sentinel written behind its span, where it stands before it", "[mark, goes]", "[goes, mark]"),
        ("what is written without the last sentinel, which ends it", "[*written, marks[-1]]", "written")):
    mistake("corrupt_spans", said, *change)
mistake("corrupt_spans", "no sentinel for a span of length 0", "read += [stays, mark]",
        "mark = mark[: len(goes)]\nread += [stays, mark]")


variant("mask_tokens")(lambda tokens, draws, how, other, mask, rate: (
    np.select([draws >= rate, how < 0.8, how < 0.9], [tokens, mask, other], tokens),
    np.where(draws >= rate, -100, tokens)))


@variant("corrupt_spans")
def corrupt_spans_by_a_loop(tokens, kept, hidden, sentinels):
    read, written, place = [], [], 0
    for keep, hide, mark in zip(kept.tolist(), hidden.tolist(), sentinels.tolist(), strict=False):
        read += [*tokens[place : place + keep].tolist(), mark]
        written += [mark, *tokens[place + keep : place + keep + hide].tolist()]
        place += keep + hide
    return np.array(read, np.int64), np.array([*written, sentinels[-1]], np.int64)


texts = st.text(st.sampled_from("abc (\n\u00e9\U0001f642"), max_size=12)
draws = st.sampled_from((0.5, 0.0, 0.25, 0.999999, 0.1, 0.9, 1 / 3))
tokens = st.lists(st.integers(0, 9), max_size=6)
sides = st.one_of(tokens, *(st.lists(st.integers(0, 9), min_size=n, max_size=2 * n + 1) for n in (4, 1)))
few, many = (st.lists(st.integers(0, 9), min_size=least, max_size=most) for least, most in ((1, 2), (4, 9)))
rooms = st.sampled_from((5, 3, 0, 1, 2, 4, 6, 7, 9, 13))
MARKERS = (100, 101, 102, 103), (7, 5, 300, 0)  # also markers that look like tokens

CASES |= {
    "split_middle": st.tuples(texts, st.tuples(draws, draws) | st.lists(draws, min_size=2, max_size=2)),
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
mistake("split_middle", "n places, where there are n + 1: the end is one", "len(text) + 1", "len(text)")
mistake("split_middle", "places counted in bytes, not in characters", "len(text) + 1",
        "len(text.encode()) + 1")
mistake("move_middle", "the text as it was, with markers between its parts: the middle must come last", PSM,
        "[begin, *prefix, last, *middle, between, *suffix, end]")
mistake("move_middle", "SPM with the marker of the middle behind the prefix, which splits what should be one "
        "run of text", SPM, "[between, *suffix, begin, *prefix, last, *middle, end]")
mistake("move_middle", "SPM as PSM with the two sides exchanged: the prefix must stand before the middle",
        SPM, "[begin, *suffix, between, *prefix, last, *middle, end]")
mistake("move_middle", "SPM with the marker M before the middle: it stands before the prefix", SPM,
        "[begin, between, *suffix, *prefix, last, *middle, end]")
mistake("move_middle", "PSM with prefix and suffix exchanged", PSM,
        "[begin, *suffix, between, *prefix, last, *middle, end]")
mistake("trim_sides", "the beginning of the prefix, not its end, which is next to the gap", KEPT,
        "prefix[:before]")
mistake("trim_sides", "the end of the suffix, not its beginning, which is next to the gap",
        "suffix[:after]", "suffix[max(len(suffix) - after, 0) :]")
mistake("trim_sides", "half of the room for each side, also if the other leaves room over", AFTER,
        "room // 2", "room - len(suffix)", "room - room // 2")
mistake("trim_sides", "half of the room for each side if they do not fit, though one may need less", "", """
if len(prefix) + len(suffix) > room:
    return prefix[max(len(prefix) - (room - room // 2), 0) :], suffix[: room // 2]""")
mistake("trim_sides", "all the room for the prefix first, and what is left for the suffix", AFTER,
        "max(0, room - len(prefix))")
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
