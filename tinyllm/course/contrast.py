"""Describe how wrong results differ from right ones, for example by a factor, if no known mistake fits."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinyllm.course.failures import right
from tinyllm.course.matching import alike
from tinyllm.ops import OPS
from tinyllm.testing.check import is_plain_list
from tinyllm.testing.values import kind

CLOSE = 1e-4  # relative difference that may come from rounding
ENOUGH = 3  # a fact must be true of at least this many cases


def describe(name: str, failing: Sequence[tuple], bare: bool = True) -> str | None:
    """Return the end of "your output equals ...", such as "the right y times 2"; None if nothing is known.

    failing: pairs (case, its wrong results, or None if the function raised). bare: True to say at least which
    results are wrong.
    """
    wrong: dict[str, list[Any]] = {label: [] for label in OPS[name].outputs}
    for args, got in failing:
        want = right(name, args)[0]
        if got is not None and is_plain_list(want):
            got, want = [list(got)], [list(want)]
        if got is None or not len(got) == len(want) == len(wrong):
            return None
        for label, *pair in zip(wrong, got, want, strict=True):
            wrong[label] += [] if is_close(*pair) else [pair]
    facts = {label: common_fact(pairs) for label, pairs in wrong.items() if pairs}
    said = []
    for fact in dict.fromkeys(facts.values()):
        labels = " and ".join(label for label in facts if facts[label] == fact)
        said.append(fact.format(f"the right {labels}") if fact else f"wrong numbers for {labels}")
    rest = " and ".join(label for label in wrong if label not in facts)
    fine = [f"the right {rest}"] if rest else []
    known = any(facts.values()) or (said and fine and bare)
    return "; ".join([*fine, " and ".join(said)]) if known else None


def is_close(got: Any, want: Any) -> bool:
    """Return True if two values differ by at most CLOSE, relative to the smaller one."""
    return alike([got], [want], CLOSE) and alike([want], [got], CLOSE)


def common_fact(pairs: Sequence[Any]) -> str | None:
    """Return the first fact that is true of all pairs (wrong, right); {} in it is for the output's name.

    Cases of one number are left out, if there are others: many facts are true of them by chance.
    """
    large = [pair for pair in pairs if np.size(pair[1]) > 1] or pairs
    if len(large) < ENOUGH:
        return None
    found = []
    for pair in large:
        numeric = all(isinstance(x, int | float) or kind(x) in ("f", "i", "u") for x in pair)
        found.append([*(facts_of_numbers if numeric else facts_of_lists)(*pair)])
    return next((fact for fact in found[0] if all(fact in each for each in found)), None)


def facts_of_numbers(got: Any, want: Any) -> Iterator[str]:
    """Yield what is true of wrong numbers: a constant factor or term, the same numbers in other places..."""
    try:
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    except OverflowError:  # a whole number of Python may be too large
        return
    if got.shape != want.shape:
        yield from ["the numbers of {}, but in another shape"] * is_close(got.ravel(), want.ravel())
        return
    finite = np.isfinite(want)
    size = np.max(np.abs(want), where=finite, initial=0)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the median of an empty array
        factor = np.median((got / want)[finite & (want != 0)])
        term = np.median((got - want)[finite])
        far = ~np.isclose(got, want, CLOSE, CLOSE * size, equal_nan=True)
        other = np.unique(got[far])
    if np.isfinite(factor) and is_close(got[finite], factor * want[finite]):
        yield f"{{}} times {factor:.4g}" if factor else "0 in place of {}"
    if np.isfinite(term) and is_close(got[finite] - term, want[finite]):
        yield f"{{}} + {term:.4g}"
    if is_close(np.sort(got, axis=None), np.sort(want, axis=None)):
        yield "the numbers of {}, but not in their places"
    if len(other) == 1 < got.size:
        everywhere = [f"{other[0]:.6g} everywhere in place of {{}}"] if far.all() and want.any() else []
        yield from everywhere or places(f"{{}}, but with {other[0]:.6g}", far, want)
    if alike([got], [want], 0.01):
        yield "{}, but only to 2 digits: is a type with fewer digits used, or something small added?"


def places(said: str, far: np.ndarray, want: np.ndarray) -> Iterator[str]:
    """Yield "..., where it should be negative" and such; places without a rule are not told."""
    numbers = {"negative": want < 0, "positive": want > 0, "0": want == 0, "infinite": np.isinf(want),
               "0 or less": want <= 0, "0 or more": want >= 0}
    for rule, fits in numbers.items():
        if np.array_equal(far, fits & far) and not np.isin(want[~far], want[fits]).any():
            yield f"{said} where it should be {rule}"


def facts_of_lists(got: Any, want: Any) -> Iterator[str]:
    """Yield what is true of a wrong list or text: elements in another order, missing, or too many."""
    if type(got) is not type(want) or not isinstance(want, list | str):
        return
    if sorted(map(repr, got)) == sorted(map(repr, want)):
        yield "the elements of {}, but in another order"
    if is_part(got, want):
        yield "{} without some of its elements"
    if is_part(want, got):
        yield "{} with more elements"


def is_part(few: Sequence[Any], many: Sequence[Any]) -> bool:
    """Return True if all elements of `few` are in `many`, in the same order."""
    rest = iter(many)
    return all(each in rest for each in few)
