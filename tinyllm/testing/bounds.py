"""Compute tolerances: how far a float32 result may differ from the exact result.

All of them follow one rule (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1). A sum of
n products is wrong by at most about n * EPS times the sum of their absolute values, where EPS = 2^-23 is the
distance from 1 to the next float32 number. So a tolerance is EPS times the number of roundings times the
op's result for absolute values.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyllm.testing.relations import bind, run_spec

EPS = 2.0**-23  # the distance from 1 to the next float32
BOUNDS: dict = {}  # op -> a function of arguments and expected results in float64: a tolerance per result
NEIGHBOURS: dict = {}  # op -> a function of a case: other cases, whose results are right for it, too
TINY = 1e-37  # float32 numbers much below this are subnormal, or 0 in fast kernels


def bound(*names: str) -> Callable[..., Any]:
    """Register a function of (arguments, results) that returns the error bounds of each of these ops."""

    def register(function):
        BOUNDS.update(dict.fromkeys(names, function))
        return function

    return register


def absolute(value: Any) -> Any:
    """Return the absolute values if `value` is an array of floats; return anything else unchanged."""
    return np.abs(value) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


def of_sizes(name: str, roundings: Callable[..., Any]) -> Callable[..., Any]:
    """Return the error bound of an op that only multiplies and adds: 2^-23 * roundings * op(|arguments|).

    roundings: a function that takes the op's arguments by name and returns how many roundings a result
        contains.
    """

    def of_case(args, results):
        sizes = run_spec(name, tuple(absolute(value) for value in args))
        factor = EPS * roundings(**bind(name, args))
        return tuple(factor * size + TINY for size in (sizes if isinstance(sizes, tuple) else (sizes,)))

    return of_case


def of_terms(size: Callable[..., Any]) -> Callable[..., Any]:
    """Return the error bound of an op of which each result is wrong by at most 2^-23 times a size.

    size: a function of (results, *arguments) that returns what the absolute values of all rounded terms add
        up to: one array, or a tuple with an array for each result.
    """

    def of_case(args, results):
        sizes = size(results, *args)
        return tuple(EPS * each + TINY for each in (sizes if isinstance(sizes, tuple) else (sizes,)))

    return of_case


def ulps(n: float) -> Callable[..., Any]:
    """Return the error bound n * 2^-23 * |y| of an op whose results y are rounded n times in float32."""
    return of_terms(lambda results, *args: tuple(n * np.abs(y) for y in results))


def of_rounding(name: str) -> Callable[..., Any]:
    """Return the error bound of an op that computes every number separately, from inputs that are rounded.

    The bound is 2^-20 |y|, and how far the results move if one array after the other is 2^-21 larger or
    smaller. So, where a result jumps, both sides of the jump are right.
    """

    def of_case(args, results):
        bounds = [8 * EPS * np.abs(y) + TINY for y in results]
        for i, x in enumerate(args):
            for step in (-4 * EPS, 4 * EPS) if isinstance(x, np.ndarray) else ():
                moved = run_spec(name, (*args[:i], x + step * x, *args[i + 1 :]))
                moved = moved if isinstance(moved, tuple) else (moved,)
                bounds = [b + np.abs(1.0 * z - y) for b, z, y in zip(bounds, moved, results, strict=True)]
        return tuple(map(np.nan_to_num, bounds))

    return of_case


def largest(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the largest finite absolute value along an axis; the axis stays, with length 1."""
    return np.max(np.where(np.isfinite(x), np.abs(x), 0), axis=axis, keepdims=True, initial=0)


def mean(x: np.ndarray) -> np.ndarray:
    """Return the mean along the last axis; the axis stays, with length 1."""
    return x.mean(axis=-1, keepdims=True)
