"""Generate random inputs (cases) for an exercise, and group them by the property that they test.

Hypothesis draws the inputs from a seed. The same seed gives the same inputs on every machine with the same
version of Hypothesis.
"""

import contextlib
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyllm.ops import OPS
from tinyllm.testing import properties as titles
from tinyllm.testing.catalog import draw_cases
from tinyllm.testing.check import arrays, run
from tinyllm.testing.relations import bind, specs_only

CASES_PER_TASK = 60
HIDDEN_CASES = 30  # more cases, from a seed that students do not know
LEAST = 12  # the least number of ordinary cases, so that failing on ordinary numbers is noticed
NAMED = 6  # cases that are called without optional arguments, and with arguments by keyword
EMPTY_SEEDS, EMPTY_CASES = 6, 15  # seeds, and cases with an empty axis from each: one seed varies too little
MORE_CASES = 200  # drawn in the search for a smaller failing input
MOST_FLOPS = 2_500_000  # of an attention case: loops over single numbers take 0.2 s for this many


def per_case(function: Any) -> Any:
    """Cache the results of a function whose last argument is a case, because each case is used many times."""
    found: dict = {}  # (other arguments, id of the case) -> (the case, kept so that its id is unique, result)

    @functools.wraps(function)
    def cached(*args):
        key = *args[:-1], id(args[-1])
        if key not in found:
            if len(found) > 100_000:
                found.clear()
            found[key] = args[-1], function(*args)
        return found[key][1]

    return cached


@per_case
def case_kind(args: Sequence[Any]) -> str:
    """Return the kind of a case, the first that fits: infinite, small, extreme, views, else ordinary."""
    given_arrays = list(arrays(args))
    numbers = [a for a in given_arrays if a.dtype.kind == "f"]
    if any(np.isinf(a).any() for a in numbers):
        return titles.INFINITE
    small = any(a.size == 0 or a.shape[-1:] == (1,) for a in given_arrays)
    if small or any(x in ([], b"", {}) for x in args if not isinstance(x, np.ndarray | np.generic)):
        return titles.SMALL
    sizes = [np.abs(a).max() for a in numbers if a.size]
    if any(size > 100 or 0 < size < 0.01 for size in sizes):
        return titles.EXTREME
    if any(not a.flags.c_contiguous for a in given_arrays):
        return titles.VIEWS
    return titles.ORDINARY if numbers else titles.ORDINARY_INPUT


# Cases larger than those that are drawn, to find hidden limits: more rows than a byte can count, large ids.
LARGE: dict[str, tuple] = {
    "embedding": (np.arange(900, dtype=np.float32).reshape(300, 3), np.array([299, 0, 256, 257, 255])),
    "bpe_merge": ([70_000, 70_001, 5, 70_000, 70_001, 70_000, 700_012], (70_000, 70_001), 70_002),
    "bpe_pair_counts": ([[1, 2, 1, 2], [1, 2], [70_000, 2]], [20_000, 123_456_789, 10_001]),
    "count_parameters": (50_257, 4096, 200, 40_001),
    "grouped_linear": (np.arange(10, dtype=np.float32).reshape(5, 2),
                       [np.full((2, 3), i + 1, np.float32) for i in range(3)], np.array([2, 0, 3])),
    "grad_norm": ([np.full(3, i + 1, np.float32) for i in range(130)],),
}
# The simplest first. A case with -inf may also be huge or a view, so its failure says less about the cause.
# An empty case says least.
PLAIN = (titles.ORDINARY, titles.ORDINARY_INPUT)
NORMAL = (*PLAIN, titles.VIEWS)
CASE_KINDS = (*NORMAL, titles.EXTREME, titles.INFINITE, titles.SMALL)
WRITES = "it writes into an input, which belongs to the caller; work on a copy"


@functools.cache
@specs_only()
def properties(name: str, count: int = CASES_PER_TASK, variant: int = 0) -> dict[str, list[tuple]]:
    """Return the properties of an op and the cases that test them -> {property: list of argument tuples}.

    Every student gets the same cases. variant: the seed of further cases; 0 adds none.
    """
    public, hidden = light_cases(name, count), light_cases(name, HIDDEN_CASES, variant) if variant else []
    cases, sample = public + hidden, public[:20] + hidden[:5]
    others = [LARGE[name]] if name in LARGE else []
    met = {empty_axes(args) for args in cases}
    for seed in range(EMPTY_SEEDS):
        for args in light_cases(name, EMPTY_CASES, seed, plain=True, empty=True):
            others += [args] if empty_axes(args) not in met else []
            met.add(empty_axes(args))
    found = {title: [args for args in cases + others if case_kind(args) == title] for title in CASE_KINDS}
    for title in PLAIN if sum(len(found[title]) for title in PLAIN) < LEAST else ():
        found[title] += [x for x in light_cases(name, plain=True) if case_kind(x) == title][:LEAST]
    found = {title: some for title, some in found.items() if some} | {titles.FORM: sample}
    if name == "attention":  # the first of the steps that the lesson advises
        simple = [(q, k, *rest) for q, k, *rest in found[titles.ORDINARY]
                  if q.shape[2] == k.shape[2] and rest[-1] is None]
        found = {titles.SIMPLE: simple} | found
    if not OPS[name].mutates:
        found[titles.PURE] = sample
    return found | {titles.ARGUMENTS: with_defaults(name, cases), titles.STEADY: cases[:5]}


def light_cases(name: str, *count_and_seed: int, **how: bool) -> list[tuple]:
    """Draw cases like `draw_cases`, but no attention so large that a loop in Python would take seconds."""
    cases = draw_cases(name, *count_and_seed, **how)
    if name != "attention":
        return cases
    return [args for args in cases if OPS[name].flops(bind(name, args), None) <= MOST_FLOPS]


def empty_axes(args: Sequence[Any]) -> frozenset[tuple[int, int, bool]]:
    """Return (argument's index, axis counted from the end, is it the first axis) of each axis of length 0."""
    return frozenset((i, a.ndim - axis, axis == 0) for i, value in enumerate(args) for a in arrays([value])
                     for axis, length in enumerate(a.shape) if length == 0)


@functools.cache
def defaults(name: str) -> dict[str, Any]:
    """Return the defaults of an op's arguments, by name."""
    every = OPS[name].__signature__.parameters.items()
    return {argument: each.default for argument, each in every if each.default is not each.empty}


def with_defaults(name: str, cases: Sequence[tuple]) -> list[tuple]:
    """Return at most NAMED cases with their optional arguments replaced by the defaults."""
    plain: list[tuple] = []
    others: list[tuple] = []
    for args in cases:
        given = tuple((bind(name, args) | defaults(name)).values())
        with contextlib.suppress(ValueError, IndexError):  # skip cases that need their own arguments
            run(name, OPS[name].reference, given)  # on copies of what it changes
            (plain if case_kind(given) in NORMAL else others).append(given)
        if len(plain) == NAMED:
            break
    return (plain or others)[:NAMED]
