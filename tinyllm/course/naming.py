"""Name the mistake behind wrong results: one that gives the same numbers, unless other cases contradict it.

The known mistakes, those listed in `testing` and those made by rule, run on the cases that fail.
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
    """Measure an input: the numbers in its arrays, then its letters. An empty input counts as the largest."""
    size = sum(a.size for a in arrays(args))
    return size or 10**9, len(repr(args)) if size < READABLE else 0  # writing long arrays takes long


def confirming(pairs: list[tuple]) -> list[tuple]:
    """Choose cases of different widths to confirm a mistake on, the simplest and smallest first.

    pairs: (case, anything).
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
    """Return the size of the last axis of each array of a case, or the case's repr if it has no arrays."""
    return tuple(a.shape[-1:] for a in arrays(args)) or repr(args)


def name_mistake(name: str, failing: list[tuple], more: Sequence[tuple] = (), passing: Sequence[tuple] = (),
                 left: Callable[[], float] = lambda: 1.0) -> tuple[str, Callable[..., Any]] | None:
    """Find the mistake that explains wrong results -> (sentence, function), or None.

    failing: pairs of a case and the results on it, or None if it gave no results; the simplest first. more:
    known mistakes in addition to the op's. passing: ordinary cases with right results. left: a function that
    returns the time that is left for mistakes made by rule.
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
    """Find one or two terms that are missing in a count, or too much -> at most one mistake.

    Edits that leave out different terms of equal size give the same numbers: a name would be a guess.
    answered: pairs of a case and the results on it.
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
    """Return a right count with terms too many or too few: pairs of a factor and the powers of arguments."""
    return spec(*args) + sum(n * math.prod(map(pow, args, powers)) for n, powers in terms)


def term(name: str, factor: int, powers: Sequence[int]) -> str:
    """Write a term of a count, such as "- 2 * width * width" for (-2, (0, 0, 0, 2))."""
    names = [each for each, n in zip(parameters(name), powers, strict=True) for _ in range(n)]
    return f"{'-' if factor < 0 else '+'} {' * '.join([str(abs(factor)), *names])}"


def same_mistake(name: str, args: Sequence[Any], got: Any, function: Callable[..., Any]) -> bool:
    """Return True if results are wrong in the same way as a mistake's results: in numbers or types."""
    theirs = outcome(name, function, args)
    if got is None or theirs is None or not alike(got, theirs, closeness(name, args)):
        return False
    if numbers_wrong(name, got, args):
        return numbers_wrong(name, theirs, args)
    error = form_error(name, got, args)
    return error is not None and error == form_error(name, theirs, args)


@per_case
def closeness(name: str, args: Sequence[Any]) -> float:
    """Return the share of the largest number by which float32 in another order may differ."""
    expected, _, bounds = right(name, args)
    shares = [np.max(bound, initial=0) / max(np.max(np.abs(want), where=np.isfinite(want), initial=0), 1e-30)
              for want, bound in zip(expected, bounds, strict=False)
              if isinstance(want, np.ndarray | np.generic) and want.dtype.kind == "f"]  # fmt: skip
    return float(np.clip(max(shares, default=0), CLOSE, 10 * CLOSE))


def denied(name: str, probe: tuple, function: Callable[..., Any]) -> bool:
    """Return True if one ordinary case contradicts a mistake, which is quicker than to look at several.

    probe: a case and the results on it.
    """
    args, got = probe
    if case_kind(args) not in PLAIN or name in NEIGHBOURS:
        return False
    return not alike(got, outcome(name, function, args), ROUNDED)


def contradicted(name: str, failing: list[tuple], shown: list[bool], function: Callable[..., Any]) -> bool:
    """Return True if other cases contradict a mistake that fits some cases.

    On ordinary numbers, views included, one contradicting case is enough. On other cases a second mistake may
    hide the first: there a quarter may differ, or more if ordinary cases of several widths agree.
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
    """Return True if each number of the results is that of one of several results."""
    try:
        near = [[np.isclose(a, b, ROUNDED, 0, equal_nan=True) for a, b in zip(got, other, strict=True)]
                for other in several]  # fmt: skip
        return len(several) > 1 and all(np.any(some, axis=0).all() for some in zip(*near, strict=True))
    except (TypeError, ValueError):  # no results, or of other types and shapes
        return False


def telling(results: list[Any] | None) -> bool:
    """Return whether results are fractions that two mistakes do not have in common by chance."""
    fractions = [a for a in map(np.asarray, results or ()) if a.dtype.kind == "f" and a.size]
    return any((np.isfinite(a) & (a % 0.5 != 0)).any() for a in fractions)


def undefined(results: list[Any] | None) -> bool:
    """Return whether there are no results, or is one that is not finite."""
    return results is None or any(not np.isfinite(a).all() for a in arrays(results) if a.dtype.kind == "f")


def has_nan(results: Sequence[Any]) -> bool:
    """Return whether a number of the results is NaN."""
    return any(np.isnan(a).any() for a in arrays(results) if a.dtype.kind == "f")


def tells_apart(name: str, args: Sequence[Any], function: Callable[..., Any]) -> bool:
    """Return True if a mistake is clearly wrong on a case."""
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
    """Convert a result to the expected type, if its numbers allow it."""
    if not all(isinstance(x, np.ndarray | np.generic) and x.dtype.kind in "fiub" for x in (got, want)):
        return got
    with np.errstate(all="ignore"):  # float64 may be too large
        cast = got.astype(np.float32 if want.dtype.kind == "f" else want.dtype)
    return cast if want.dtype.kind == "f" or np.array_equal(cast, got) else got


def alike(got: Any, other: Any, close: float = CLOSE) -> bool:
    """Return True if results agree; None agrees with None, and values that cannot be compared do not."""
    if got is None or other is None:
        return got is other
    try:
        return same(got, other, close)
    except Exception:
        return False
