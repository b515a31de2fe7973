"""Read the events that a server sends, and say which tokens keep a text within an automaton."""

from collections.abc import Sequence

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op(outputs=("events",))
def read_events(parts: Sequence[bytes]) -> list[str]:
    """Return the data of each event in a stream that came in parts, which may end anywhere.

    parts: any number of bytes, in UTF-8 when joined -> a list of texts. Lines end with CR LF, LF or CR. A
    line is a field: a name, a colon and a value, from which one space is taken at its beginning. Those
    called data belong to the event; all other lines mean nothing here. An empty line ends the event; one
    without data is none. The values of several data lines are joined by LF. What no empty line ends is left
    out. (HTML Living Standard 2026, section 9.2.6, without the byte order mark, names of events and ids.)
    """
    text = b"".join(parts).decode("utf-8", "replace")
    events, data = [], list[str]()
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]:
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
        elif not line and data:
            events.append("\n".join(data))
            data = []
    return events


@op(outputs=("allowed",), grads=())
def allowed_tokens(table: Array, shortest: Array, state: int, tokens: Sequence[bytes], left: int) -> Array:
    """Say which tokens may come next in a text that an automaton describes.

    table (S, 256) int64, the state after each state and byte; shortest (S,) int64, how many tokens the
    shortest end takes in each state; tokens: V texts; left: how many tokens may still come -> (V,) bool.
    In state 0 nothing fits any more. A token is allowed if it has bytes, if they all fit, and if the text
    can be ended after it.
    """
    allowed = np.zeros(len(tokens), bool)
    for i, token in enumerate(tokens):
        at = state
        for byte in token:
            at = table[at, byte]
        allowed[i] = len(token) > 0 and at != 0 and shortest[at] <= left - 1
    return allowed
