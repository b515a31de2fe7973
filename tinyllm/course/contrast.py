"""Describe how wrong results differ from the right ones, and on which inputs, without guessing the cause.

`diagnose` needs this when no known mistake fits. `difference` compares results, and finds words such as "-1
times the right dx". `condition` compares failing with passing inputs, and finds "lengths is given".
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinyllm.course.matching import alike
from tinyllm.ops import OPS, log_softmax, softmax
from tinyllm.testing.catalog import draw_cases
from tinyllm.testing.check import arrays
from tinyllm.testing.relations import bind

NEAR = 1e-4  # relative difference that may come from rounding
ENOUGH = 3  # cases of more than one number that a relation must hold on
CHANCE = 1e-3  # the probability that all failing cases share a property by chance
OTHERS = 0.3  # the share of all cases that must be without the property
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
    return f"the right result, except where {where}" if where else None


def difference(name: str, failing: Sequence[tuple], right: Callable[..., Any]) -> str | None:
    """Describe how wrong results differ from the right ones, as in "zeros in place of the right dx"; or None.

    failing: pairs (case, its wrong results).
    right: a function of (name, case) whose first value is the list of right results.
    """
    wanted = [list(right(name, args)[0]) for args, _ in failing]
    pairs = [(args, got, want) for (args, got), want in zip(failing, wanted, strict=True)
             if got is not None and len(got) == len(want)]  # fmt: skip
    if len(pairs) < ENOUGH or len(pairs) < len(failing):
        return None
    count = len(pairs[0][2])
    numbers = all(numeric(values) for _, got, want in pairs for values in (got, want))
    if any(len(want) != count for _, _, want in pairs) or not numbers:
        return None
    wrong = [i for i in range(count) if not all(near(got[i], want[i]) for _, got, want in pairs)]
    labels = OPS[name].outputs if len(OPS[name].outputs) == count else ["result"] * count
    said = [relation(name, [(args, got[i], want[i]) for args, got, want in pairs
                            if not near(got[i], want[i])]) for i in wrong]  # fmt: skip
    fine = [labels[i] for i in range(count) if i not in wrong]
    if not said or (None in said and not fine):
        return None
    if None in said:
        return f"the right {' and '.join(fine)}, but another {' and '.join(labels[i] for i in wrong)}"
    text = " and ".join(each.format("the right " + labels[i])
                        for i, each in zip(wrong, said, strict=True) if each)  # fmt: skip
    return text + (f"; {' and '.join(fine)} {'is' if len(fine) == 1 else 'are'} right" if fine else "")


def numeric(values: Sequence[Any]) -> bool:
    """Return True if all values are arrays, or numbers in the range of float64."""
    return all(isinstance(x, np.ndarray | np.generic | float) or (isinstance(x, int) and abs(x) < 2**1023)
               for x in values)  # fmt: skip


def near(got: Any, want: Any) -> bool:
    """Return True if two values agree up to rounding."""
    return alike([got], [want], NEAR)


def relation(name: str, triples: list[tuple]) -> str | None:
    """Find a formula that turns right results into wrong ones: words such as "1 minus {}", or None.

    {} stands for the name of the right result. triples: (case, wrong result, right result).
    """
    telling = [each for each in triples if np.size(each[2]) > 1] or triples
    if len(telling) < ENOUGH:
        return None
    tried: dict[str, int] = {}
    for args, got, want in telling:
        with np.errstate(all="ignore"):
            for said, value in guesses(name, args, np.asarray(want)):
                tried[said] = tried.get(said, 0) + near(got, value)
        if part := partly(got, want):
            tried[part] = tried.get(part, 0) + 1
    best = max(tried, key=lambda said: tried[said], default=None)
    if best is not None and tried[best] >= 0.9 * len(telling):
        return best
    return constant_factor(telling) or about(telling) or elsewhere(name, telling)


def guesses(name: str, args: Sequence[Any], want: np.ndarray) -> Iterator[tuple[str, Any]]:
    """Yield possible wrong results with their description: pairs such as ("1 minus {}", 1 - want)."""
    if want.dtype.kind not in "fiu":
        return
    wide = want.astype(np.float64)
    yield "{}, its sign turned", -wide
    yield "the absolute value of {}", np.abs(wide)
    yield "zeros in place of {}", np.zeros_like(wide)
    yield "1 in place of {}", np.ones_like(wide)
    if wide.ndim:
        yield "1 / n everywhere in place of {}", np.full_like(wide, 1 / max(wide.shape[-1], 1))
    for said, function in (("exp of", np.exp), ("the logarithm of", np.log), ("the square of", np.square),
                           ("the square root of", np.sqrt), ("1 divided by", np.reciprocal),
                           ("1 divided by the square of", lambda x: x**-2.0),
                           ("softmax of", softmax.reference),
                           ("log_softmax of", log_softmax.reference)):  # fmt: skip
        yield f"{said} {{}}", function(wide)
    yield "1 minus {}", 1 - wide
    yield "{}, negative numbers set to 0", np.maximum(wide, 0)
    if want.dtype.kind == "f":
        yield "{} cut to whole numbers", np.trunc(wide)
        yield "{} rounded to whole numbers", np.rint(wide)
    for axis in range(wide.ndim):
        words = f" along axis {axis - wide.ndim}"
        yield "{} in reverse order" + words, np.flip(wide, axis)
        yield "{} shifted by one place" + words, np.roll(wide, 1, axis)
        yield "{} shifted back by one place" + words, np.roll(wide, -1, axis)
        yield "the running sum of {}" + words, np.cumsum(wide, axis)
        mean = wide.sum(axis, keepdims=True) / wide.shape[axis]  # NaN if empty, where `mean` warns
        yield "the mean of {} everywhere" + words, np.broadcast_to(mean, wide.shape)
    if wide.ndim:
        yield "{} in rising order", np.sort(wide, axis=-1)
        yield "{} in falling order", -np.sort(-wide, axis=-1)
        yield "the sum of {} everywhere", np.full_like(wide, wide.sum())
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


def partly(got: Any, want: Any) -> str | None:
    """Say which part is wrong if only the first or last element of an axis is wrong (or right), else None."""
    got, want = np.asarray(got), np.asarray(want)
    numbers = all(a.dtype.kind in "fiu" for a in (got, want))
    if got.shape != want.shape or not want.ndim or not numbers:
        return None
    fine = same_numbers(got, want)
    for axis in range(want.ndim):
        rows = np.moveaxis(fine, axis, 0).reshape(want.shape[axis], -1).all(axis=1)
        if len(rows) < 2 or rows.all():
            continue
        words = f" along axis {axis - want.ndim}"
        for said, at in (("first", 0), ("last", len(rows) - 1)):
            if rows.sum() == len(rows) - 1 and not rows[at]:
                return f"{{}} but for the {said} element" + words
            if rows.sum() == 1 and rows[at] and len(rows) > 2:
                return f"{{}} in the {said} element alone" + words
    return None


def constant_factor(triples: list[tuple]) -> str | None:
    """Find a factor between right and wrong results that is the same in all cases: "{} times 2", or None."""
    found = []
    for _, got, want in triples:
        if not numeric((got, want)):  # a kernel in C may give a message
            return None
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
        there = np.isfinite(want) & (want != 0)
        if not there.any() or not np.array_equal(np.isfinite(got), np.isfinite(want)):  # or of other shapes
            return None
        factor = np.median(got[there] / want[there])
        if not near(got[there], factor * want[there]):
            return None
        found.append(factor)
    same = np.ptp(found) <= NEAR * abs(found[0]) and not near(found[0], 1)
    return f"{{}} times {found[0]:.4g}" if same else None


def elsewhere(name: str, triples: list[tuple]) -> str | None:
    """Describe right numbers that are in wrong places or mixed with others, or return None."""
    if any(np.shape(got) != np.shape(want) or not numeric((got, want)) for _, got, want in triples):
        return None
    if all(near(np.sort(got, axis=None), np.sort(want, axis=None)) for _, got, want in triples):
        return "the numbers of {}, but not in their places"
    fits: dict[str, int] = {}
    for args, got, want in triples:
        values = [("0", 0.0), ("-inf", -np.inf), ("NaN", np.nan), *values_of(name, args)]
        for said, value in values:
            if np.ndim(value) == 0 or np.shape(value) == np.shape(want):
                fits[said] = fits.get(said, 0) + near(np.where(same_numbers(got, want), want, value), got)
    said = max(fits, key=lambda said: fits[said])
    return f"{{}}, but with {said} at some places" if fits[said] == len(triples) else None


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


def condition(name: str, failing: Sequence[tuple], passing: Sequence[tuple], precise: float) -> str | None:
    """Find a property of all failing and few other inputs, such as "x has more than one axis"; or None.

    precise: at least this share of the inputs with the property must fail.

    Empty inputs count only if all failing inputs are empty, because little can be wrong on them.
    """
    if all(map(empty, failing)) and not all(map(empty, passing)):
        return "an input is empty"
    bad, good = ([facts(name, args) for args in some if not empty(args)] for some in (failing, passing))
    if len(bad) < ENOUGH:
        return None
    best, share = None, precise
    for fact in bad[0]:
        with_it = sum(fact in each for each in good)
        without = (len(good) - with_it) / len(good + bad)
        if not all(fact in each for each in bad) or without < OTHERS or (1 - without) ** len(bad) > CHANCE:
            continue
        precision = len(bad) / (len(bad) + with_it)
        if precision > share + 0.05:  # of two that fit, the simpler property
            best, share = fact, precision
    return best


def empty(args: Sequence[Any]) -> bool:
    """Return True if an array, a list or a text among the arguments is empty."""
    nothing = any(x in ([], b"", {}) for x in args if not hasattr(x, "dtype"))
    return nothing or any(a.size == 0 for a in arrays(args))


def facts(name: str, args: Sequence[Any]) -> dict[str, None]:
    """Return properties of a case, such as "n is 0", simple ones first, as the keys of a dict."""
    found: list[str] = []
    given = bind(name, args)
    for argument, value in given.items():
        if value is not None and OPS[name].__signature__.parameters[argument].default is None:
            found.append(f"{argument} is given")
        if isinstance(value, bool):
            found.append(f"{argument} is {value}")
        elif value is None:
            found.append(f"{argument} is None")
        elif isinstance(value, np.ndarray):
            found += facts_of_array(argument, value)
        elif isinstance(value, int | float | np.generic):
            found += [f"{argument} is 0"] if value == 0 else []  # that a value is not 0 says nothing
            found += [f"{argument} is {'not ' if value != 1 else ''}1"]
        elif isinstance(value, list | tuple | bytes):
            found += [f"{argument} has {'one element' if len(value) == 1 else 'several elements'}"]
            found += [f"{argument} is a {type(value).__name__}"]
            plain = [x for x in value if isinstance(x, int)]
            found += [f"elements of {argument} are equal"] if len(set(plain)) < len(plain) else []
    for (a, x), (b, y) in itertools.permutations(given.items(), 2):
        if isinstance(x, np.ndarray) and x.dtype.kind in "iu" and type(y) is int and (x == y).any():
            found.append(f"an element of {a} is {b}")
    numbers = {key: float(x) for key, x in given.items()
               if isinstance(x, int | float) and not isinstance(x, bool)}  # fmt: skip
    for (a, x), (b, y) in itertools.combinations(numbers.items(), 2):
        signs = {"<": x < y, ">": x > y, "=": x == y, ">=": x >= y, "<=": x <= y}
        found += [f"{a} {sign} {b}" for sign, true in signs.items() if true]
    return dict.fromkeys(found)


def facts_of_array(name: str, a: np.ndarray) -> Iterator[str]:
    """Yield the properties of an array argument called `name`, in words."""
    yield f"{name} has {a.ndim} ax{'i' if a.ndim == 1 else 'e'}s"
    if a.ndim != 1:
        yield f"{name} has {'no' if a.ndim < 1 else 'more than one'} axis"
    if a.ndim > 2:
        yield f"{name} has more than two axes"
    for i, n in enumerate(a.shape):
        yield f"{name}.shape[{i - a.ndim}] is {'' if n == 1 else 'not '}1"
    if a.size > 1:
        rows = a.reshape(-1, a.shape[-1])
        if any(len(np.unique(row)) < len(row) for row in rows[:50]):
            yield f"numbers in a row of {name} are equal"
    if (a == 0).any():
        yield f"{name} holds a zero"
    if a.dtype.kind == "f":
        finite = np.abs(a[np.isfinite(a)])
        if (a < 0).any():
            yield f"{name} holds a negative number"
        if len(finite) < a.size:
            yield f"{name} holds -inf"
        if (a == -np.inf).all(axis=-1).any() if a.ndim else False:
            yield f"a row of {name} is nothing but -inf"
        largest = float(finite.max(initial=0))
        for least in (1.0, 10.0, 80.0, 1e3, 1e18):
            if largest > least:
                yield f"{name} holds {f'numbers beyond {least:,.0f}' if least < 1e9 else 'huge numbers'}"
        if largest < 0.01:
            yield f"all numbers of {name} are tiny"
    if not a.flags.c_contiguous:
        yield f"{name} is a view with other strides"
    yield f"{name} is {a.dtype}"
