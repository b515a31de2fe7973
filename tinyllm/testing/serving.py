"""Provide test cases, common mistakes and correct variants for streams of events and masks of automata."""

import re

import numpy as np
from hypothesis import strategies as st

from tinyllm.rng import Random
from tinyllm.testing.arrays import cases, few, seeds
from tinyllm.testing.edits import mistake, variant

LINES = ("data: éa", "data:b: ü", "data:  d", "data", "data:", "data: é", "", "", ": e", "database: f")
ended = st.tuples(st.sampled_from(LINES), st.sampled_from(("\n", "\r\n", "\r"))).map("".join)


@cases("read_events")
def streams(draw):
    """Draw a stream of events, cut anywhere, also within a character or a line break; its end may be lost."""
    lines = [*draw(st.lists(ended, max_size=9)), draw(st.sampled_from(("\n\n", "data: x\n\n", "", "data")))]
    data = "".join(lines).encode()
    few_cuts = st.lists(st.integers(0, len(data)), max_size=4).map(sorted)
    cuts = draw(st.one_of(st.just([*range(len(data))]), few_cuts))
    return ([data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)],)


@cases("allowed_tokens")
def automata(draw):
    """Draw an automaton in which a third of the ways end in state 0, and short tokens of few bytes."""
    rng, S = Random(draw(seeds), "automaton"), 1 + draw(few)
    table = rng.integers(S, (S, 256)) * (rng.uniform((S, 256)) < 0.7)
    table[0] = 0
    tokens = draw(st.lists(st.lists(st.sampled_from((97, 98, 0, 255)), max_size=4).map(bytes), max_size=9))
    return table, rng.integers(6, (S,)), draw(st.integers(0, S - 1)), tokens, draw(st.integers(0, 7))


TEXT, ENDS = 'b"".join(parts).decode("utf-8", "replace")', r'text.replace("\r\n", "\n")'

mistake("read_events", "each part decoded alone: a character may be cut in two", TEXT,
        '"".join(part.decode("utf-8", "replace") for part in parts)')
mistake("read_events", "events within one part only", "return events",
        "return [each for part in parts for each in read_events([part])] if len(parts) > 1 else events")
mistake("read_events", "lines that do not end with CR", ENDS + r'.replace("\r", "\n")', ENDS)
mistake("read_events", "CR LF taken for two ends of lines", ENDS, "text")
mistake("read_events", "all blanks taken from the value", 'value.removeprefix(" ")', "value.strip()")
mistake("read_events", "each data line an event of its own", r'events.append("\n".join(data))',
        "events += data")
mistake("read_events", "fields whose name begins with data", 'name == "data"', 'name.startswith("data")')
mistake("read_events", "an event for every empty line", "not line and data", "not line")
mistake("read_events", "an event that has not ended", "return events",
        r'return events + ["\n".join(data)] * bool(data)')
mistake("allowed_tokens", "only the first byte of each token looked at", "enumerate(tokens)",
        "enumerate([token[:1] for token in tokens])")
mistake("allowed_tokens", "tokens without bytes, which never end", "len(token) > 0", "True")
mistake("allowed_tokens", "tokens whose bytes do not fit", "at != 0", "True")
mistake("allowed_tokens", "tokens after which the end has no room", "shortest[at] <= left - 1", "True")
mistake("allowed_tokens", "the token itself not counted", "left - 1", "left")


@variant("read_events")
def events_of_blocks(parts):
    text = re.sub("\r\n?", "\n", b"".join(parts).decode("utf-8", "replace"))
    found = [re.findall("^data(?:: ?(.*)|$)", block, re.MULTILINE) for block in text.split("\n\n")[:-1]]
    return ["\n".join(values) for values in found if values]


@variant("allowed_tokens")
def by_columns(table, shortest, state, tokens, left):
    states = np.full(len(tokens), state)
    for n in range(max(map(len, tokens), default=0)):
        rows = [i for i, token in enumerate(tokens) if len(token) > n]
        states[rows] = table[states[rows], [tokens[i][n] for i in rows]]
    return np.array([bool(token) for token in tokens], bool) & (states != 0) & (shortest[states] < left)
