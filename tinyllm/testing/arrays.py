"""Draw difficult arrays: sizes, numbers and memory layouts that break numeric code.

Hypothesis draws only a size, a kind of numbers, a layout and a seed; `Random` makes the numbers. So cases are
cheap to draw, and a case that fails is reduced to a small size, whole numbers and a plain layout.
"""

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinyllm.rng import Random

# The first entry of each list is the simplest: Hypothesis shrinks towards it.
SIZES = (2, 1, 3, 0, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 70)  # around the SIMD widths 4, 8, 16
FEW = (2, 1, 3, 0, 5)  # for axes that a kernel only loops over
CASES: dict = {}  # op -> a strategy that draws its arguments in float32
_empties: Iterator[bool] | None = None  # says if the next axis that can be empty is so; None: by chance


def cases(*names: str) -> Callable[..., Any]:
    """Register a function that draws a case of each of these ops, and make it a strategy of Hypothesis."""

    def register(function):
        composite = st.composite(function)
        CASES.update(dict.fromkeys(names, composite()))
        return composite

    return register


def axis(*choices: Any) -> st.SearchStrategy:
    """Return a strategy that draws one of `choices`: lengths of an axis, or tuples of lengths."""
    empty = [each for each in choices if 0 in np.ravel(each)]
    small = [each for each in choices if each not in empty][:4]

    def as_wanted(length: Any) -> Any:
        if _empties is None or not empty:
            return length
        some = empty if next(_empties) else small
        return some[choices.index(length) % len(some)]

    return st.sampled_from(choices).map(as_wanted)


@st.composite
def one_empty(draw: Any, cases: st.SearchStrategy) -> Any:
    """Draw a small case of `cases` with exactly one empty axis, if any of its axes can be empty."""
    global _empties
    which = draw(st.integers(0, 3))
    _empties = (i == which for i in itertools.count())
    try:
        return draw(cases)
    finally:
        _empties = None


sizes = axis(*SIZES)
few = axis(*FEW)
seeds = st.integers(0, 2**16)
leading = axis(  # the shape of an array without its last axis
    (3,), (), (2,), (2, 3), (1,), (0,), (5,), (3, 1), (2, 0), (1, 4), (2, 1, 2), (17,))

KINDS = {
    "whole": lambda rng, n: rng.integers(9, n) - 4.0,
    "bits": lambda rng, n: rng.integers(2, n),
    "normal": lambda rng, n: rng.normal(n),
    "wide": lambda rng, n: 3 * rng.normal(n),
    "small": lambda rng, n: 1e-3 * rng.normal(n),
    "large": lambda rng, n: 1e4 * rng.normal(n),
    "equal": lambda rng, n: np.full(n, rng.uniform()),
    "zero": lambda rng, n: np.zeros(n),
    "far from zero": lambda rng, n: 1000 + rng.normal(n),
    "far below zero": lambda rng, n: rng.normal(n) - 1000,  # where exp gives 0 unless a maximum is subtracted
    "huge": lambda rng, n: 3e38 * (2 * rng.uniform(n) - 1),  # only for ops that promise not to overflow
}
USUAL = ("whole", "normal", "normal", "wide", "normal", "small", "large", "equal", "zero", "far from zero")
BITS = 8 * ("bits",)  # beside other kinds, so that often all numbers are 0 or 1
MODEST = ("whole", "normal", "wide", "small", "equal")  # for ops whose results are 0 or 1 or infinite at 1e4


def _every_second(a):
    gaps = np.full((*a.shape[:-1], 2 * a.shape[-1]), _gap(a), a.dtype)
    gaps[..., ::2] = a
    return gaps[..., ::2]


def _inner(a):
    frame = np.full([n + 2 for n in a.shape], _gap(a), a.dtype)
    inside = frame[(slice(1, -1),) * a.ndim]
    inside[...] = a
    return inside


def _gap(a):
    """Return the number to put between elements: NaN or an impossible id, so that its use is noticed."""
    return np.nan if a.dtype.kind == "f" else False if a.dtype.kind == "b" else np.iinfo(a.dtype).min


def _read_only(a):
    a.flags.writeable = False
    return a


LAYOUTS = {
    "plain": lambda a: a,
    "every second": _every_second,
    "backwards": lambda a: a[..., ::-1].copy()[..., ::-1],
    "inner": _inner,
    "fortran": lambda a: np.array(a, order="F"),
    "first axis last": lambda a: np.moveaxis(np.moveaxis(a, 0, -1).copy(), -1, 0),
    "repeated row": lambda a: np.broadcast_to(a[:1], a.shape) if len(a) else a,  # a stride of zero
    "read-only": _read_only,
}
PLAIN = ("plain",)
ANY_LAYOUT = ("plain", "plain", *LAYOUTS)


def arrange(a: np.ndarray, layout: str) -> np.ndarray:
    """Copy an array into another memory layout; only the layout "repeated row" changes the values."""
    return LAYOUTS[layout](a) if a.ndim else a


def make_floats(shape: tuple[int, ...], kind: str, seed: int, layout: str = "plain") -> np.ndarray:
    """Make a float32 array from a seed; `kind` is a key of KINDS, `layout` a key of LAYOUTS."""
    numbers = np.asarray(KINDS[kind](Random(seed, kind), math.prod(shape)), np.float32)
    return arrange(numbers.reshape(shape), layout)


UNUSUAL = {*KINDS, *LAYOUTS} - {"whole", "bits", "normal", "wide", "equal", "plain"}
_ordinary = False


@contextlib.contextmanager
def ordinary() -> Iterator[None]:
    """Make all strategies draw ordinary numbers in plain layouts, without -inf, inside a `with` block."""
    global _ordinary
    _ordinary = True
    try:
        yield
    finally:
        _ordinary = False


def recipes(*choices: Sequence[Any]) -> st.SearchStrategy:
    """Return a strategy that draws one item from each list, and a seed; in `ordinary`, no unusual items."""
    if _ordinary:
        choices = tuple(tuple(x for x in some if x not in UNUSUAL) or some for some in choices)
    return tuples(*map(tuple, choices))


@functools.cache  # strategies are slow to make
def tuples(*choices: Sequence[Any]) -> st.SearchStrategy:
    """Return a strategy that draws one item from each of `choices`, and a seed."""
    return st.tuples(*map(st.sampled_from, choices), seeds)


def floats(draw: Any, shape: Iterable[int], kinds: Sequence[str] = USUAL,
           layouts: Sequence[str] = ANY_LAYOUT) -> np.ndarray:
    """Draw a float32 array of a given shape; its kind of numbers and its memory layout are drawn, too."""
    kind, layout, seed = draw(recipes(kinds, layouts))
    return make_floats(tuple(shape), kind, seed, layout)


def ints(draw: Any, shape: Iterable[int], below: int) -> np.ndarray:
    """Draw an int32 or int64 array of numbers in [0, below), or of zeros if below is 0."""
    dtype, layout, seed = draw(recipes((np.int64, np.int32), ANY_LAYOUT))
    return arrange(Random(seed, "ints").integers(max(below, 1), tuple(shape)).astype(dtype), layout)


def scores(draw: Any, shape: Iterable[int], kinds: Sequence[str] = USUAL,
           shares: Sequence[float] = (0, 0, 0.4)) -> np.ndarray:
    """Draw float32 logits, and set a share of them to -inf; the share is drawn from `shares`."""
    kind, share, layout, seed = draw(recipes(kinds, (0,) if _ordinary else shares, ANY_LAYOUT))
    return arrange(hide(make_floats(tuple(shape), kind, seed), share, seed), layout)


def hide(a: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Set a random share of the elements to -inf; if the share is below 1, keep one element in every row."""
    a = np.array(a)
    if a.size and share:
        rng = Random(seed, "hide")
        hidden = rng.uniform(a.shape) < share
        if share < 1:
            np.put_along_axis(hidden, rng.integers(a.shape[-1], a.shape[:-1])[..., None], False, axis=-1)
        a[hidden] = -np.inf
    return a
