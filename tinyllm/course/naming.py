"""Name the mistake behind wrong results: a known mistake that gives the same wrong numbers.

The known mistakes are listed in `testing` or made by rule. Each runs on the cases on which the student's
function fails. A mistake that gives the student's numbers on some of them is named, unless it gives clearly
different numbers on others, or fails where the student is right.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinyllm.course.drawing import CASE_KINDS, PLAIN, case_kind, per_case
from tinyllm.course.failures import require_forms, right
from tinyllm.ops import OPS
from tinyllm.testing.by_rule import every_edit
from tinyllm.testing.catalog import MISTAKES, NEIGHBOURS
from tinyllm.testing.check import CLOSE, arrays, outcome, require_close, same
from tinyllm.testing.properties import VIEWS
from tinyllm.testing.relations import parameters

PROBES = 4  # a mistake must fit one of these cases before the others are tried
CERTAIN = 6  # failing cases with the numbers of a mistake that no other case then denies
CONFIRMING = 16  # cases that fail, and as many others, to confirm a mistake on; of lists three times as many
ROUNDED = 1e-4  # of the largest number; a difference up to this may be rounding
READABLE = 300  # letters of an input; for a longer one, shorter cases are tried


@per_case
def weight(args: Sequence[Any]) -> tuple[int, int]:
    """Return the size of a case, to sort by: (numbers in its arrays, letters). Empty counts as largest."""
    size = sum(a.size for a in arrays(args))
    return size or 10**9, len(repr(args)) if size < READABLE else 0  # writing long arrays takes long


def confirming(pairs: list[tuple]) -> list[tuple]:
    """Choose a few of the failing cases, on which a suspected mistake must give the student's results.

    They include the smallest of each width, in order from simple to complex. pairs: (case, anything else).
    """
    pairs = sorted(pairs, key=lambda pair: (CASE_KINDS.index(case_kind(pair[0])), weight(pair[0])))
    count = CONFIRMING if any(next(arrays(args), None) is not None for args, _ in pairs) else 3 * CONFIRMING
    half = count // 2
    seen: set = set()
    chosen: list[int] = []
    for i, (args, _) in enumerate(pairs):
        if widths(args) not in seen and len(chosen) < half:
            seen.add(widths(args))
            chosen.append(i)
    others = [i for i in range(len(pairs)) if i not in chosen]
    chosen += others[:: max(-(-len(others) // (count - len(chosen))), 1)]
    return [pairs[i] for i in sorted(chosen)]


@per_case
def widths(args: Sequence[Any]) -> Any:
    """Return the last axis' length of each array in a case; without arrays, the repr of the case."""
    return tuple(a.shape[-1:] for a in arrays(args)) or repr(args)


def name_mistake(name: str, failing: list[tuple], more: Sequence[tuple] = (), passing: Sequence[tuple] = (),
                 left: Callable[[], float] = lambda: 1.0) -> tuple[str, Callable[..., Any]] | None:
    """Find the known mistake that gives the student's wrong results -> (sentence, function), or None.

    failing: pairs (case, the student's results on it, or None if the function raised), the simplest case
    first. more: known mistakes in addition to the op's own. passing: ordinary cases on which the student is
    right. left: returns the seconds that are left for trying mistakes made by rule.
    """
    best, found, likely = 0, None, None
    answered = [pair for pair in failing if pair[1] is not None]
    probes = answered[:: max(len(answered) // PROBES, 1)]

    listed = [*more, *MISTAKES.get(name, ())]

    def suspects():
        yield from itertools.chain(listed, miscounted(name, answered))
        for pair in every_edit(name) if answered and best < len(failing) else ():
            if best == len(failing) or left() < 0:
                return
            yield pair

    for pair in suspects():
        if probes and denied(name, probes[0], pair[1]):
            continue
        if not any(same_mistake(name, args, out, pair[1]) for args, out in probes):
            continue
        shown = [same_mistake(name, args, out, pair[1]) for args, out in failing]
        if sum(shown) <= best or contradicted(name, failing, shown, pair[1]):
            continue
        if not any(tells_apart(name, args, pair[1]) for args in passing):
            best, found = sum(shown), pair
        elif all(shown) and pair in listed and sum(telling(got) for _, got in failing) >= CERTAIN:
            likely = likely or pair  # but the function does more right than the mistake
    return found or likely


def miscounted(name: str, answered: list[tuple]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Find which one or two terms a wrong count (of parameters, of FLOPs) lacks or has too many -> a mistake.

    The terms are products of powers of the arguments, fitted to the errors by least squares. Yields one
    mistake or none. answered: pairs (case, the student's results on it). (Edits of the specification cannot
    tell two terms of equal size apart, so their sentences would be guesses.)
    """
    whole = [(args, out[0]) for args, out in answered if all(type(x) is int for x in (*args, *out))]
    if len(whole) < max(len(answered), CERTAIN):
        return
    wrong = np.array([got - right(name, args)[0][0] for args, got in whole], np.float64)
    given = np.array([args for args, _ in whole], np.float64)
    powers = sorted(itertools.product((0, 1, 2), repeat=given.shape[1]), key=sum)
    powers = [each for each in powers if sum(each) <= 4 and min(each) == 0]
    for terms in itertools.chain(((each,) for each in powers), itertools.combinations(powers, 2)):
        columns = np.stack([(given**each).prod(axis=1) for each in terms], axis=1)
        factors = np.rint(np.linalg.lstsq(columns, wrong, rcond=None)[0])
        if factors.all() and np.array_equal(columns @ factors, wrong):
            found = [*zip(factors.astype(int).tolist(), terms, strict=True)]
            words = " ".join(term(name, *each) for each in found)
            yield f"the right number {words}", functools.partial(off_by, OPS[name].reference, found)
            return


def off_by(spec: Callable[..., int], terms: list[tuple], *args: int) -> int:
    """Return the right count plus wrong terms; a term is (factor, the power of each argument)."""
    return spec(*args) + sum(n * math.prod(map(pow, args, powers)) for n, powers in terms)


def term(name: str, factor: int, powers: Sequence[int]) -> str:
    """Format a term of a count, such as "- 2 * width * width" for factor -2 and powers (0, 0, 0, 2)."""
    names = [each for each, n in zip(parameters(name), powers, strict=True) for _ in range(n)]
    return f"{'-' if factor < 0 else '+'} {' * '.join([str(abs(factor)), *names])}"


def same_mistake(name: str, args: Sequence[Any], got: Any, function: Callable[..., Any]) -> bool:
    """Return True if a mistake gives the student's results `got` on a case: wrong numbers, or wrong types."""
    theirs = outcome(name, function, args)
    if got is None or theirs is None or not alike(got, theirs, closeness(name, args)):
        return False
    if numbers_wrong(name, got, args):
        return numbers_wrong(name, theirs, args)
    error = form_error(name, got, args)
    return error is not None and error == form_error(name, theirs, args)


@per_case
def closeness(name: str, args: Sequence[Any]) -> float:
    """Return the relative tolerance of a case: how far a sum in another order may be off, as float32."""
    expected, _, bounds = right(name, args)
    shares = [np.max(bound, initial=0) / max(np.max(np.abs(want), where=np.isfinite(want), initial=0), 1e-30)
              for want, bound in zip(expected, bounds, strict=False)
              if isinstance(want, np.ndarray | np.generic) and want.dtype.kind == "f"]  # fmt: skip
    return float(np.clip(max(shares, default=0), CLOSE, 10 * CLOSE))


def denied(name: str, probe: tuple, function: Callable[..., Any]) -> bool:
    """Return True if a mistake does not give the student's results on one ordinary case: a quick test.

    probe: (case, the student's results on it).
    """
    args, got = probe
    if case_kind(args) not in PLAIN or name in NEIGHBOURS:
        return False
    return not alike(got, outcome(name, function, args), ROUNDED)


def contradicted(name: str, failing: list[tuple], shown: list[bool], function: Callable[..., Any]) -> bool:
    """Return True if a mistake that gives the student's results on some failing cases does not on the others.

    One ordinary case or view with other numbers is enough. On extreme cases a second mistake of the student
    may hide the first. So there a quarter as many cases may differ as agree, or half as many if ordinary
    cases of two widths agree. shown: for each failing case, True if it agrees.
    """
    against, widely, neighbours = 0, set(), NEIGHBOURS.get(name, lambda args: [])
    for (args, got), agrees in zip(failing, shown, strict=True):
        plain = case_kind(args) in PLAIN
        if agrees:
            widely |= {widths(args)} if plain else set()
            continue
        theirs = outcome(name, function, args)
        if alike(got, theirs, ROUNDED):
            continue  # rounding
        if not plain and undefined(theirs) != undefined(got) and not has_nan(right(name, args)[0]):
            continue  # one of the two avoids a NaN that the other gives
        if mixed(got, [theirs, *(outcome(name, function, near) for near in neighbours(args))]):
            continue  # on a threshold, where rounding decides
        if plain or case_kind(args) == VIEWS:
            return True
        against += 1
    return (4 if len(widely) < 2 else 2) * against > sum(shown)


def mixed(got: Any, several: Sequence[Any]) -> bool:
    """Return True if each number of `got` is near that of at least one of `several` other results."""
    try:
        near = [[np.isclose(a, b, ROUNDED, 0, equal_nan=True) for a, b in zip(got, other, strict=True)]
                for other in several]  # fmt: skip
        return len(several) > 1 and all(np.any(some, axis=0).all() for some in zip(*near, strict=True))
    except (TypeError, ValueError):  # no results, or of other types and shapes
        return False


def telling(results: list[Any] | None) -> bool:
    """Return True if results hold a number such as 0.37, which two mistakes hardly share by chance."""
    fractions = [a for a in map(np.asarray, results or ()) if a.dtype.kind == "f" and a.size]
    return any((np.isfinite(a) & (a % 0.5 != 0)).any() for a in fractions)


def undefined(results: list[Any] | None) -> bool:
    """Return True if the function raised (results are None), or a result holds inf or NaN."""
    return results is None or any(not np.isfinite(a).all() for a in arrays(results) if a.dtype.kind == "f")


def has_nan(results: Sequence[Any]) -> bool:
    """Return True if a result holds NaN."""
    return any(np.isnan(a).any() for a in arrays(results) if a.dtype.kind == "f")


def tells_apart(name: str, args: Sequence[Any], function: Callable[..., Any]) -> bool:
    """Return True if a mistake gives wrong numbers on a case, by more than rounding."""
    theirs = outcome(name, function, args)
    wrong = theirs is None or numbers_wrong(name, theirs, args)
    return wrong and not alike(right(name, args)[0], theirs, ROUNDED)


def numbers_wrong(name: str, results: list[Any], args: Sequence[Any]) -> bool:
    """Return True if the numbers of results are wrong. Their types do not count."""
    wanted = right(name, args)
    if len(results) == len(wanted[0]):
        results = [as_wanted(got, want) for got, want in zip(results, wanted[0], strict=True)]
    try:
        require_close(name, results, wanted)
    except Exception:  # the value cannot be compared
        return True
    return False


def form_error(name: str, results: list[Any], args: Sequence[Any]) -> str | None:
    """Return a sentence about wrong types and shapes of results, or None if they are right."""
    try:
        require_forms(name, results, args)
    except AssertionError as error:
        return str(error)
    return None


def as_wanted(got: Any, want: Any) -> Any:
    """Convert a result to the expected dtype, unless that would change its integers."""
    if not all(isinstance(x, np.ndarray | np.generic) and x.dtype.kind in "fiub" for x in (got, want)):
        return got
    with np.errstate(all="ignore"):  # float64 may be too large
        cast = got.astype(np.float32 if want.dtype.kind == "f" else want.dtype)
    return cast if want.dtype.kind == "f" or np.array_equal(cast, got) else got


def alike(got: Any, other: Any, close: float = CLOSE) -> bool:
    """Return True if two lists of results agree up to rounding (`close`); None agrees with None only."""
    if got is None or other is None:
        return got is other
    try:
        return same(got, other, close)
    except Exception:
        return False
