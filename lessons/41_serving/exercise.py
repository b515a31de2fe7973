"""Lesson 41. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 41`.

What you are given must come back as it was.
"""

import numpy as np


def read_events(parts):
    """Return the data of each event in a stream that came in parts, which may
    end anywhere.

    parts: any number of bytes, in UTF-8 when joined -> a list of texts. Lines
    end with CR LF, LF or CR. A line is a field: a name, a colon and a value,
    from which one space is taken at its beginning. Those called data belong to
    the event; all other lines mean nothing here. An empty line ends the event;
    one without data is none. The values of several data lines are joined by LF.
    What no empty line ends is left out.
    """
    raise NotImplementedError


def allowed_tokens(table, shortest, state, tokens, left):
    """Say which tokens may come next in a text that an automaton describes.

    table (S, 256) int64, the state after each state and byte; shortest (S,)
    int64, how many tokens the shortest end takes in each state; tokens: V
    texts; left: how many tokens may still come -> (V,) bool. In state 0 nothing
    fits any more. A token is allowed if it has bytes, if they all fit, and if
    the text can be ended after it.
    """
    raise NotImplementedError
