"""Compare wrong results with the results of a known mistake, to find out if a function makes this mistake.

Differences that come from rounding, from NaN, or from a number on a threshold do not count.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyllm.course.drawing import PLAIN, case_kind
from tinyllm.course.failures import require_forms, right
from tinyllm.testing.catalog import NEIGHBOURS
from tinyllm.testing.check import agree, arrays, narrow, outcome, require_close, widen
from tinyllm.testing.properties import VIEWS
from tinyllm.testing.values import kind

CLOSE = 1e-6  # results agree if they differ by less than this share of the largest number
ROUNDED = 1e-4  # of the largest number; a difference up to this may be rounding
ROUNDINGS = 4  # a function's results may differ by this many times the rounding error of the mistake
PART = 0.01  # two errors agree if they differ by at most this share of the larger one
NEARLY = 0.003  # the same, where another mistake adds a little to the first
NOISE = 16  # or by at most this many times the rounding error of the mistake
MOST_EXCEPTIONS = 1 / 4  # cases that may contradict a mistake, as a share of the cases that it explains
MOST_OF_TWO_WIDTHS = 1 / 2  # the same, if the mistake explains ordinary cases of two widths
MANY = 2  # values of a result that are wrong in the same way
LARGE = 10  # two mistakes rarely agree by chance on a whole number of this size
Case = Sequence[Any]


class Suspect:
    """A known mistake that may explain wrong results.

    output: the index of the only result to compare; None compares all.
    known: a cache {(id of a case, exact): the mistake's results}. Cases must stay alive to keep their ids.
    close: False if errors need only be nearly those of the mistake, because another mistake adds a little.
    """

    def __init__(self, name, function, output=None, known=None, close=True):
        self.name, self.function, self.output = name, function, output
        self.known, self.close = known, close

    def results(self, args: Case, exact: bool = False) -> list[Any] | None:
        """Return the results that the mistake gives on a case, in float64 if `exact`; None if it fails."""
        known = {} if self.known is None else self.known
        key = id(args), exact
        if key not in known:
            given = [widen(value) for value in args] if exact else args
            known[key] = outcome(self.name, self.function, given)
        return self.seen(args, known[key])

    def seen(self, args: Case, results: list[Any] | None) -> list[Any] | None:
        """Replace the results that are not compared by the right ones."""
        return results if self.output is None else with_right(self.name, args, results, self.output)

    def explains(self, args: Case, got: list[Any] | None) -> bool:
        """Return True if `got` equals the results of the mistake and is wrong in the same way."""
        got, theirs = self.seen(args, got), self.results(args)
        if got is None or theirs is None:
            return False
        if not self.close:
            defined = [[kind(each) == "f" and np.isfinite(each).tolist() for each in some]
                       for some in (got, theirs)]
            wrong = defined[0] == defined[1] and fractions(got) and numbers_wrong(self.name, theirs, args)
            return bool(wrong) and self.apart(args, got, theirs) <= NEARLY
        if not (self.equal(args, got, theirs) and self.same_errors(args, got, theirs)):
            return False
        if numbers_wrong(self.name, got, args):
            return numbers_wrong(self.name, theirs, args)
        error = form_error(self.name, got, args)
        return error is not None and error == form_error(self.name, theirs, args)

    def equal(self, args: Case, got: list[Any], theirs: list[Any]) -> bool:
        """Return True if results differ from the mistake's results only by rounding.

        A mistake may round more than right code: scores that are not divided by sqrt(D) are larger, and exp
        magnifies their rounding errors. A run of the mistake in float64 measures how much.
        """
        if alike(got, theirs) or within(self.name, args, got, theirs):
            return True
        exact = self.results(args, exact=True) if alike(got, theirs, ROUNDED) else None
        return exact is not None and alike(got, exact, ROUNDINGS * distance(theirs, exact))

    def same_errors(self, args: Case, got: list[Any], theirs: list[Any]) -> bool:
        """Return True if the errors of two results agree, relative to the larger error.

        Two small errors may differ by less than the tolerance, and still come from two mistakes.
        """
        if self.apart(args, got, theirs) <= PART:
            return True
        exact = self.results(args, exact=True)
        return exact is not None and self.apart(args, got, exact) <= NOISE * self.apart(args, theirs, exact)

    def apart(self, args: Case, got: list[Any], theirs: list[Any]) -> float:
        """Return how far two results are apart where they are wrong, relative to the larger error."""
        found, wanted = 0.0, right(self.name, args)
        for a, b, want, bound in zip(got, theirs, wanted[0], wanted[2], strict=False):
            shapes = {np.shape(each) for each in (a, b, want)}
            words = any(np.asarray(each).dtype.kind not in "fiub" for each in (a, b))
            if kind(np.asarray(want)) != "f" or len(shapes) > 1 or words:
                continue
            with np.errstate(all="ignore"):
                a, b, want = (np.asarray(x, np.float64) for x in (a, b, want))
                error = np.maximum(np.abs(a - want), np.abs(b - want))
                clear = np.isfinite(error) & (error > bound)
                apart = np.max(np.abs(a - b), where=clear, initial=0)
                found = max(found, float(apart / np.max(error, where=clear, initial=1e-300)))
        return found

    def denied(self, probe: tuple) -> bool:
        """Test quickly if the mistake gives other results on an ordinary `probe`: (case, results)."""
        args, got = probe
        if case_kind(args) not in PLAIN or self.name in NEIGHBOURS:
            return False
        got, theirs = self.seen(args, got), self.results(args)
        return not alike(got, theirs, ROUNDED) and not within(self.name, args, got, theirs)

    def contradicted(self, failing: list[tuple], shown: list[bool], widths: Callable[[Case], Any]) -> bool:
        """Return True if other cases contradict a mistake that explains some cases.

        One contradicting case with ordinary numbers or views is enough. In other cases a second mistake may
        hide the first, so some exceptions are allowed, by the number of cases that are explained.
        shown: for each failing case, True if it is explained.
        """
        against, widely = 0, set()
        for (args, out), agrees in zip(failing, shown, strict=True):
            plain = case_kind(args) in PLAIN
            if agrees:
                widely |= {widths(args)} if plain else set()
                continue
            got, theirs = self.seen(args, out), self.results(args)
            if alike(got, theirs, ROUNDED) or within(self.name, args, got, theirs):
                against += got is not None and theirs is not None and not self.same_errors(args, got, theirs)
                continue  # rounding
            is_nan = any(np.isnan(a).any() for a in floats(right(self.name, args)[0]))
            if not plain and undefined(theirs) != undefined(got) and not is_nan:
                continue  # one of the two avoids a NaN that the other gives
            if plain or case_kind(args) == VIEWS:
                return True
            against += 1
        return against > (MOST_EXCEPTIONS if len(widely) < 2 else MOST_OF_TWO_WIDTHS) * sum(shown)

    def wrong(self, args: Case) -> bool:
        """Return True if the mistake gives clearly wrong results on a case."""
        theirs = self.results(args)
        wrong = theirs is None or numbers_wrong(self.name, theirs, args)
        return wrong and not alike(right(self.name, args)[0], theirs, ROUNDED)


def with_right(name: str, args: Case, results: list[Any] | None, output: int) -> list[Any] | None:
    """Return the right results of a case, but with result number `output` taken from `results`."""
    expected = right(name, args)[0]
    if results is None or len(results) != len(expected):
        return None
    return [results[i] if i == output else narrow(want) for i, want in enumerate(expected)]


def distance(results: list[Any], others: list[Any]) -> float:
    """Return the largest difference of finite numbers, relative to the largest number of their array."""
    shares = [0.0]
    for a, b in zip(results, others, strict=False):
        if kind(a) == "f" and np.shape(a) == np.shape(b):
            finite = np.isfinite(a) & np.isfinite(b)
            size = np.max(np.abs(b), where=finite, initial=0)
            shares.append(float(np.max(np.abs(a - b), where=finite, initial=0) / max(size, 1e-30)))
    return max(shares)


def within(name: str, args: Case, got: Any, theirs: Any) -> bool:
    """Return True if two results differ by at most twice the error that is allowed for a right one.

    If a sum such as 1 + erf(x) cancels, only rounding errors are left, and relative differences mean nothing.
    """
    try:
        return all(
            kind(b) == "f" and np.shape(a) == np.shape(b) and np.shape(bound) in ((), np.shape(a))
            and np.isclose(a, b, 0, 2 * np.asarray(bound), equal_nan=True).all()
            for a, b, bound in zip(got, theirs, right(name, args)[2], strict=True))
    except Exception:  # None, a dict, a list of lists of several lengths, a huge int, or too few results
        return False


def floats(results: Sequence[Any] | None) -> list[np.ndarray]:
    """Return the arrays of floats in results, and single floats as arrays."""
    numbers = [np.asarray(a) for a in results or () if isinstance(a, (float, np.generic))]
    return [a for a in (*numbers, *arrays(results or ())) if a.dtype.kind == "f"]


def fractions(results: Sequence[Any] | None) -> list[float]:
    """Return all finite numbers that are no multiples of 0.5: two mistakes rarely agree on one by chance."""
    return [x for a in floats(results) for x in a[np.isfinite(a) & (a % 0.5 != 0)].tolist()]


def telling(name: str, args: Case, results: Sequence[Any] | None) -> list[Any]:
    """Return what two mistakes rarely share: fractions not copied from an argument, else wrong values."""
    given = {x for a in floats(args) for x in a.ravel().tolist()}
    computed = [x for x in fractions(results) if x not in given]
    got, want = ([x for a in some or () for x in (
        a.ravel().tolist() if isinstance(a, np.ndarray) else a.items() if isinstance(a, dict) else [a])]
        for some in (results, right(name, args)[0]))
    wrong = [a for a, b in itertools.zip_longest(got, want) if a is not None and a == a != b]  # and no NaN
    large = len(got) == 1 and any(isinstance(a, int) and abs(a) >= LARGE for a in wrong)
    return computed or ([repr(results)] if large or len(wrong) >= MANY else [])


def undefined(results: list[Any] | None) -> bool:
    """Return True if a result is missing, or if a number is not finite."""
    return any(a is None for a in results or [results]) or \
        not all(np.isfinite(a).all() for a in floats(results))


def numbers_wrong(name: str, results: list[Any], args: Case) -> bool:
    """Return True if numbers in the results are wrong. Types are not compared."""
    wanted = right(name, args)
    if len(results) == len(wanted[0]):
        results = [as_wanted(got, want) for got, want in zip(results, wanted[0], strict=True)]
    try:
        require_close(name, results, wanted)
    except Exception:  # the value cannot be compared
        return True
    return False


def form_error(name: str, results: list[Any], args: Case) -> str | None:
    """Return a sentence about wrong types or shapes of results, or None if all are right."""
    try:
        require_forms(name, results, args)
    except AssertionError as error:
        return str(error)
    return None


def wrong_in_both(name: str, results: list[Any], args: Case) -> bool:
    """Return True if results have the right shapes and wrong numbers; their types are known to be wrong."""
    shapes = [[np.shape(each) for each in some] for some in (results, right(name, args)[0])]
    return shapes[0] == shapes[1] and all(map(kind, results)) and numbers_wrong(name, results, args)


def as_wanted(got: Any, want: Any) -> Any:
    """Convert a result to the expected type, if its numbers allow it."""
    if not all(isinstance(x, np.ndarray | np.generic) and x.dtype.kind in "fiub" for x in (got, want)):
        return got
    with np.errstate(all="ignore"):  # a float64 may be too large for float32
        cast = got.astype(np.float32 if want.dtype.kind == "f" else want.dtype)
    return cast if want.dtype.kind == "f" or np.array_equal(cast, got) else got


def alike(got: Any, other: Any, close: float = CLOSE) -> bool:
    """Return True if results agree. None agrees with None; values that cannot be compared do not agree."""
    if got is None or other is None:
        return got is other
    try:
        return len(got) == len(other) and all(agree(a, b, close) for a, b in zip(got, other, strict=True))
    except Exception:
        return False
