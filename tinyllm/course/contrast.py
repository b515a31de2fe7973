"""Describe how wrong results differ from the right ones, and on which inputs, without guessing the cause.

`diagnose` needs this when no known mistake fits. `difference` compares results, and finds words such as "-1
times the right dx". `conditions` compares failing with passing inputs, and finds "lengths is given".
"""

import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinyllm.course.conditions import condition
from tinyllm.course.matching import alike
from tinyllm.ops import OPS, log_softmax
from tinyllm.testing.catalog import draw_cases
from tinyllm.testing.check import is_plain_list
from tinyllm.testing.edits import as_function
from tinyllm.testing.relations import bind
from tinyllm.testing.values import changes, rare_changes

NEAR = 1e-4  # relative difference that may come from rounding
ENOUGH = 3  # cases of more than one number that a relation must hold on
PRECISE = 0.55  # the share of the cases with the property that must fail
OTHER_SEED = 1  # of the cases that confirm a property


def describe(name: str, failing: Sequence[tuple], wrong: Sequence[tuple], fine: Sequence[tuple],
             right: Callable[..., Any], fails: Callable[[tuple], bool]) -> str | None:
    """Return the end of "your output equals ...", which says how and where results are wrong; or None.

    failing, right: as in `difference`.
    wrong, fine: all cases that failed and all that passed.
    fails: runs the function on a new case, and returns True if it fails.

    A condition is confirmed on new cases, because one of many conditions may fit a few cases by chance.
    """
    how = difference(name, failing, right)
    where = condition(name, wrong, fine, 0 if how else PRECISE)
    if where:
        tried = [(args, fails(args)) for args in draw_cases(name, variant=OTHER_SEED)]
        wrong = [*wrong, *(args for args, failed in tried if failed)]
        fine = [*fine, *(args for args, failed in tried if not failed)]
        where = condition(name, wrong, fine, 0 if how else PRECISE)
    if how:
        return f"{how}, where {where}" if where else how
    return f"the right result on the inputs tried, except where {where}" if where else None


def difference(name: str, failing: Sequence[tuple], right: Callable[..., Any]) -> str | None:
    """Describe how wrong results differ from the right ones, as in "zeros in place of the right dx"; or None.

    failing: pairs (case, its wrong results).
    right: a function of (name, case) whose first value is the list of right results.
    """
    pairs: list[tuple] = []
    for args, got in failing:
        want = right(name, args)[0]
        if got is not None and is_plain_list(want):
            got, want = [list(got)], [list(want)]
        if got is None or len(got) != len(want):
            return None
        pairs.append((args, got, list(want)))
    count = len(pairs[0][2])
    if len(pairs) < ENOUGH or any(len(want) != count for _, _, want in pairs):
        return None
    wrong = [i for i in range(count) if not all(near(got[i], want[i]) for _, got, want in pairs)]
    labels = OPS[name].outputs if len(OPS[name].outputs) == count else ["result"] * count
    said = [relation(name, [(args, got[i], want[i]) for args, got, want in pairs
                            if not near(got[i], want[i])])
            or exchanged(pairs, labels, i) for i in wrong]
    if None in said and all(glued(got) == glued(want) is not None for _, got, want in pairs):
        return "the right results glued together, but cut at other places"
    fine = [labels[i] for i in range(count) if i not in wrong]
    if not said or (None in said and not fine):
        return None
    if None in said:
        return f"the right {' and '.join(fine)}, but another {' and '.join(labels[i] for i in wrong)}"
    together = any(not any(near(got[i], want[i]) for i in wrong) for _, got, want in pairs)
    text = (" and " if together else " or ").join(
        each.replace("{}", "the right " + labels[i]) for i, each in zip(wrong, said, strict=True) if each)
    return text + (f"; {' and '.join(fine)} {'is' if len(fine) == 1 else 'are'} right" if fine else "")


def exchanged(pairs: list[tuple], labels: Sequence[str], i: int) -> str | None:
    """Say which other result stands in place of result number `i`, or return None."""
    for j, label in enumerate(labels):
        if j != i and all(near(got[i], want[j]) for _, got, want in pairs):
            return f"the right {label} in place of {{}}"
    return None


def glued(results: Sequence[Any]) -> Any:
    """Return several texts or lists as one, or None if the results are something else."""
    one = len({type(each) for each in results}) == 1 and isinstance(results[0], str | list)
    return functools.reduce(operator.add, results) if one and len(results) > 1 else None


def numeric(values: Sequence[Any]) -> bool:
    """Return True if all values are arrays, or numbers in the range of float64."""
    return all(isinstance(x, np.ndarray | np.generic | float) or (isinstance(x, int) and abs(x) < 2**1023)
               for x in values)


def near(got: Any, want: Any) -> bool:
    """Return True if two values differ by at most NEAR, relative to the smaller one."""
    return alike([got], [want], NEAR) and alike([want], [got], NEAR)


def relation(name: str, triples: list[tuple]) -> str | None:
    """Find a formula that turns right results into wrong ones: words such as "1 minus {}", or None.

    {} stands for the name of the right result. triples: (case, wrong result, right result).
    """
    telling = [each for each in triples if np.size(each[2]) > 1] or triples
    if len(telling) < ENOUGH:
        return None
    if not all(numeric(pair) for _, *pair in telling):
        return relation_of_lists(name, telling)
    tried: dict[str, int] = {}
    shown: dict[str, int] = {}  # the cases in which words say more than that all or nothing is wrong
    for args, got, want in telling:
        with np.errstate(all="ignore"):
            for said, value in guesses(name, args, np.asarray(want)):
                tried[said] = tried.get(said, 0) + near(got, value)
                shown[said] = ENOUGH
        for part, sure in partly(got, want):
            tried[part] = tried.get(part, 0) + 1
            shown[part] = shown.get(part, 0) + sure
    tried = {said: count for said, count in tried.items() if shown[said] >= ENOUGH}
    best = max(tried, key=lambda said: tried[said], default=None)
    if best is not None and tried[best] >= 0.9 * len(telling):
        return best
    return constant(telling) or about(telling) or elsewhere(name, telling)


def relation_of_lists(name: str, triples: list[tuple]) -> str | None:
    """Find words as `relation` does, for results that are lists, texts or dicts."""
    found = [dict.fromkeys(said for said, true in facts_of_lists(name, *each) if true) for each in triples]
    return next((said for said in found[0] if all(said in each for each in found)), None)


def facts_of_lists(name: str, args: Sequence[Any], got: Any, want: Any) -> Iterator[tuple[str, bool]]:
    """Yield (description, is it true of this wrong result), the plainest first."""
    if type(got) is not type(want) or not isinstance(want, dict | list | str):
        return
    yield "nothing in place of {}", not got
    if isinstance(want, dict):
        yield "keys and values of {} exchanged", list(got.items()) == [(b, a) for a, b in want.items()]
        yield "the keys of {}, but other values", got.keys() == want.keys()
        yield "the values of {}, but other keys", list(got.values()) == list(want.values())
        yield "{} without some of its keys", all(want.get(key) == value for key, value in got.items())
        yield "{} with more keys", all(got.get(key) == value for key, value in want.items())
        return
    n = len(got)
    yield "{} without its last element", got == want[:-1]
    yield "{} without its first element", got == want[1:]
    yield "{} in reverse order", got == want[::-1]
    for argument, value in bind(name, args).items():
        alone = isinstance(value, list | bytes | str | tuple)
        yield f"{argument} itself", alone and list(got) == list(value)
    yield "the elements of {}, but in another order", sorted(map(repr, got)) == sorted(map(repr, want))
    yield "the beginning of {} without its end", got == want[:n]
    yield "the end of {} without its beginning", n == 0 or got == want[-n:]
    yield "{} and more behind it", got[: len(want)] == want
    yield "{} and more in front of it", not want or got[-len(want) :] == want
    yield "{} without some of its elements", is_part(got, want)
    yield "{} with more elements", is_part(want, got)


def is_part(few: Sequence[Any], many: Sequence[Any]) -> bool:
    """Return True if all elements of `few` are in `many`, in the same order."""
    rest = iter(many)
    return all(each in rest for each in few)


def guesses(name: str, args: Sequence[Any], want: np.ndarray) -> Iterator[tuple[str, Any]]:
    """Yield possible wrong results with their description: pairs such as ("1 minus {}", 1 - want)."""
    if want.dtype.kind not in "fiu":
        return
    wide = want.astype(np.float64)
    yield "zeros in place of {}", np.zeros_like(wide)
    yield "1 in place of {}", np.ones_like(wide)
    if wide.ndim:
        yield "1 / n everywhere in place of {}", np.full_like(wide, 1 / max(wide.shape[-1], 1))
        yield "log_softmax of {}", log_softmax.reference(wide)
        yield "the sum of {} everywhere", np.full_like(wide, wide.sum())
    yield "1 divided by {}", np.reciprocal(wide)
    yield "1 divided by the square of {}", wide**-2.0
    for small in ("int8", "uint8", "int16", "int32") if want.dtype.kind != "f" else ():
        yield f"{{}} in {small}, which wraps around", want.astype(small)
    for said, new in (changes(wide) | rare_changes(wide)).items() if wide.size else ():
        yield said.format("{}"), as_function(new)(wide)
    for a, b in itertools.combinations(range(wide.ndim), 2):
        if wide.shape[a] == wide.shape[b]:
            words = f"with its axes {a - wide.ndim} and {b - wide.ndim} exchanged"
            yield f"the sum of {{}} and of the same {words}", wide + wide.swapaxes(a, b)
        yield f"{{}} with its axes {a - wide.ndim} and {b - wide.ndim} exchanged", wide.swapaxes(a, b)
    for said, value in values_of(name, args):
        if np.ndim(value) and np.shape(value) == wide.shape:
            yield f"{said} itself", value
        if np.ndim(value) == 0 or np.shape(value) in (wide.shape, wide.shape[-1:]):
            yield f"{{}} + {said}", wide + value
            yield f"{{}} - {said}", wide - value
            yield f"{{}} multiplied by {said}", wide * value
            yield f"{{}} divided by {said}", wide / value


def values_of(name: str, args: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of the numbers and arrays in a case, and of the lengths of their axes."""
    for argument, value in bind(name, args).items():
        if isinstance(value, np.ndarray):
            if value.dtype.kind in "fiu":
                yield argument, value.astype(np.float64)
            for axis, n in enumerate(value.shape):
                yield f"{argument}.shape[{axis - value.ndim}]", float(n)
                yield f"the square root of {argument}.shape[{axis - value.ndim}]", math.sqrt(n)
        elif isinstance(value, int | float | np.generic) and not isinstance(value, bool):
            yield argument, float(value)
    yield "1", 1.0


def partly(got: Any, want: Any) -> Iterator[tuple[str, bool]]:
    """Yield which part may be wrong: only the first or last element of an axis, or all others.

    Yields pairs of a description, and False if the axis has one element only, so that it proves nothing.
    """
    got, want = np.asarray(got), np.asarray(want)
    numbers = all(a.dtype.kind in "fiu" for a in (got, want))
    if got.shape != want.shape or not want.size or not numbers:
        return
    fine = same_numbers(got, want)
    for axis in range(want.ndim):
        rows = np.moveaxis(fine, axis, 0).reshape(want.shape[axis], -1).all(axis=1)
        words = f" along axis {axis - want.ndim}"
        for said, at in (("first", 0), ("last", len(rows) - 1)):
            if rows.sum() == len(rows) - 1 and not rows[at]:
                yield f"{{}} but for the {said} element" + words, len(rows) > 1
            if rows[at] and rows.sum() == 1:
                yield f"{{}} in the {said} element alone" + words, len(rows) > 2


def constant(triples: list[tuple]) -> str | None:
    """Find a constant factor or difference of wrong and right results: "{} times 2", "{} + 3", or None."""
    factors, terms = [], []
    for _, got, want in triples:
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
        finite = np.isfinite(want)
        there = finite & (want != 0)
        if not there.any() or not np.array_equal(np.isfinite(got), finite):  # or of other shapes
            return None
        factor = np.median(got[there] / want[there])
        factors.append(factor if near(got[finite], factor * want[finite]) else np.nan)
        term = np.median(got[finite] - want[finite])
        terms.append(term if near(got[finite], term + want[finite]) else np.nan)
    for found, nothing, said in ((factors, 1, "{} times "), (terms, 0, "{} + ")):
        if np.ptp(found) <= NEAR * abs(found[0]) and not near(found[0], nothing):
            return f"{said}{found[0]:.4g}"
    return None


def elsewhere(name: str, triples: list[tuple]) -> str | None:
    """Describe right numbers that are in wrong places or mixed with others, or return None."""
    if any(np.shape(got) != np.shape(want) or not numeric((got, want)) for _, got, want in triples):
        return None
    if all(near(np.sort(got, axis=None), np.sort(want, axis=None)) for _, got, want in triples):
        return "the numbers of {}, but not in their places"
    fits: dict[str, int] = {}
    for args, got, want in triples:
        one: tuple = ("1 more", np.asarray(want) + 1.0), ("1 less", np.asarray(want) - 1.0)
        zero = ("0", 0.0), ("-inf", -np.inf), ("NaN", np.nan)
        values = [*zero, *one, *strange(got, want), *values_of(name, args)]
        for said, value in values:
            if np.ndim(value) == 0 or np.shape(value) == np.shape(want):
                fits[said] = fits.get(said, 0) + near(np.where(same_numbers(got, want), want, value), got)
    said = max(fits, key=lambda said: fits[said])
    if fits[said] < len(triples):
        return None
    several = any(np.size(want) > 1 for _, _, want in triples)
    return f"{{}}, but with {said} at some places" if several else f"{said} in place of {{}}"


def strange(got: Any, want: Any) -> list[tuple[str, float]]:
    """Return the number that stands at all wrong places, as [(text, number)], or [] if there are several."""
    found = np.unique(np.asarray(got, np.float64)[~same_numbers(got, want)])
    return [(f"{x:.6g}", float(x)) for x in found if len(found) == 1 < np.size(want)]


def same_numbers(got: Any, want: Any) -> Any:
    """Compare two arrays number by number, ignoring rounding; return an array of booleans."""
    scale = np.max(np.abs(want), where=np.isfinite(want), initial=0)
    with np.errstate(all="ignore"):
        got = np.asarray(got, np.float64)  # of a whole number beyond int64, too
        return np.isclose(got, want, rtol=NEAR, atol=NEAR * float(scale), equal_nan=True)


def about(triples: list[tuple]) -> str | None:
    """Describe results right to only two or three digits, or return None. triples: see `relation`."""
    if any(np.asarray(got).dtype.kind != "f" for _, got, _ in triples):
        return None
    for digits in (3, 2):
        if all(alike([got], [want], 10.0**-digits) for _, got, want in triples):
            return f"{{}}, but only to {digits} digits: is float16 used, or something small added?"
    return None
