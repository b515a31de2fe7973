"""Choose the inputs that a task is tried on, drawn by Hypothesis from a seed, and sort them.

The same seed gives the same inputs on every machine with the same Hypothesis, whatever else is imported.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyllm.ops import OPS
from tinyllm.testing.catalog import draw_cases
from tinyllm.testing.check import arrays
from tinyllm.testing.properties import (
    EXTREME,
    FORM,
    INFINITE,
    ORDINARY,
    ORDINARY_INPUT,
    PURE,
    SMALL,
    STEADY,
    VIEWS,
)

CASES_PER_TASK = 60
HIDDEN_CASES = 30  # from a seed that students do not know, beside those that they do
LEAST = 12  # ordinary cases: some ops draw few, and what fails on ordinary numbers must be said to do so
MORE_CASES = 400  # to choose from where the others will not do


def nature(args: Sequence[Any]) -> str:
    """Return the property that a case belongs to: what is special about it, the most special thing first."""
    given_arrays = list(arrays(args))
    numbers = [a for a in given_arrays if a.dtype.kind == "f"]
    if any(np.isinf(a).any() for a in numbers):
        return INFINITE
    small = any(a.size == 0 or a.shape[-1:] == (1,) for a in given_arrays)
    if small or any(x in ([], b"", {}) for x in plain(args)):
        return SMALL
    sizes = [np.abs(a).max() for a in numbers if a.size]
    if any(size > 100 or 0 < size < 0.01 for size in sizes):
        return EXTREME
    if any(not a.flags.c_contiguous for a in given_arrays):
        return VIEWS
    return ORDINARY if numbers else ORDINARY_INPUT


def plain(args: Sequence[Any]) -> list[Any]:
    """Return the arguments that are Python values."""
    return [x for x in args if not isinstance(x, np.ndarray | np.generic)]


# The plainest first. What is -inf may be huge, small or a view besides, so that it says less; what is empty
# says least.
NATURES = (ORDINARY, ORDINARY_INPUT, VIEWS, EXTREME, INFINITE, SMALL)
PLAIN = (ORDINARY, ORDINARY_INPUT)
WRITES = "it writes into an input, which belongs to the caller; work on a copy"


@functools.cache
def properties(name: str, count: int = CASES_PER_TASK, variant: int = 0) -> dict[str, list[tuple]]:
    """Return the properties of an op and the cases that try them -> {property: list of argument tuples}.

    The cases are those that every student meets, and, with a variant, some from that seed.
    """
    cases = draw_cases(name, count) + (draw_cases(name, HIDDEN_CASES, variant) if variant else [])
    sample = cases[:20] + (cases[count:][:5] if variant else [])
    found = {title: [args for args in cases if nature(args) == title] for title in NATURES}
    for title in PLAIN if sum(len(found[title]) for title in PLAIN) < LEAST else ():
        found[title] += [args for args in draw_cases(name, MORE_CASES) if nature(args) == title][:LEAST]
    found = {title: some for title, some in found.items() if some} | {FORM: sample}
    if not OPS[name].mutates:
        found[PURE] = sample
    return found | {STEADY: cases[:5]}
