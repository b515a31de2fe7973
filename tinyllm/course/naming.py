"""Find the known mistake that gives the same wrong numbers as a student's function.

The known mistakes are listed in `testing` or made by rule. They run on the cases on which the student's
function fails. A mistake is named if it gives the student's numbers on some cases, unless it gives clearly
different numbers on others, or is wrong where the student is right.
"""

import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinyllm.course.drawing import CASE_KINDS, PLAIN, case_kind, defaults, per_case
from tinyllm.course.failures import right
from tinyllm.course.matching import Suspect, has_fraction, numbers_wrong, with_right
from tinyllm.course.workers import Failure
from tinyllm.ops import OPS
from tinyllm.testing.by_rule import every_edit
from tinyllm.testing.catalog import MISTAKES
from tinyllm.testing.check import arrays
from tinyllm.testing.properties import EXTREME
from tinyllm.testing.relations import bind, parameters

PROBES = 4  # a mistake must fit one of these cases before the others are tried
CERTAIN = 6  # so many failing cases with a mistake's numbers are proof
CONFIRMING = 16  # cases that fail, and as many others, to confirm a mistake on; of lists three times as many
READABLE = 300  # letters of an input; for a longer one, shorter cases are tried


@per_case
def weight(args: Sequence[Any]) -> tuple[int, int]:
    """Return the size of a case for sorting: (numbers in arrays, letters). Empty cases are sorted last."""
    size = sum(a.size for a in arrays(args))
    return size or 10**9, len(repr(args)) if size < READABLE else 0  # writing long arrays takes long


def confirming(pairs: list[tuple]) -> list[tuple]:
    """Choose a few failing cases, on which a suspected mistake must give the student's results.

    They include the smallest case of each width (see `widths`), from simple to complex. pairs: (case, ...).
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


def usual(name: str, pairs: list[tuple], chosen: list[tuple]) -> list[tuple]:
    """Choose a few more ordinary cases: those with default arguments on which the function did not fail.

    pairs: a list of (case, what is wrong).
    chosen: the pairs to leave out.
    """
    fixed, taken = defaults(name), {id(args) for args, _ in chosen}
    found = (pair for pair in pairs if id(pair[0]) not in taken and not isinstance(pair[1], Failure)
             and case_kind(pair[0]) in PLAIN and is_given(bind(name, pair[0]), fixed))
    return list(itertools.islice(found, CERTAIN if fixed else 0))


def is_given(given: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Return True if the arguments `given` contain all {name: value} of `wanted`, which has no arrays."""
    return all(np.ndim(given[key]) == 0 and given[key] == value for key, value in wanted.items())


@per_case
def widths(args: Sequence[Any]) -> Any:
    """Return the length of the last axis of each array in a case; without arrays, the case as text."""
    return tuple(a.shape[-1:] for a in arrays(args)) or repr(args)


def name_mistake(name: str, failing: list[tuple], more: Sequence[tuple] = (), passing: Sequence[tuple] = (),
                 left: Callable[[], float] = lambda: 1.0,
                 later: Sequence[tuple] = (), extreme: Sequence[tuple] = ()) -> tuple[str, Callable] | None:
    """Find the mistake that explains wrong results; return a sentence and `explains(case, results)`, or None.

    A function may have several mistakes. So a mistake is also named if it explains all results for one value
    of an argument, such as its default, or if each of two results has its own mistake.

    failing: pairs (case, the student's results, or None if the function raised), the simplest case first.
    more: known mistakes in addition to the op's own.
    passing: ordinary cases on which the student is right.
    left: returns the seconds that are left for trying mistakes made by rule.
    later: more pairs like `failing`, which must confirm a name.
    extreme: cases with extreme numbers on which the student is right.
    """
    answered = [pair for pair in failing if pair[1] is not None]
    listed = [*more, *MISTAKES.get(name, ()), *miscounted(name, answered)]
    searches = list(divided(name, failing, passing, later, extreme))
    whole = searches[0].groups[0]
    for i, pair in enumerate(itertools.chain(listed, every_edit(name) if answered else ())):
        if whole.explained() or (i >= len(listed) and left() < 0):
            break
        known: dict = {}
        for group in itertools.chain.from_iterable(search.groups for search in searches):
            group.try_mistake(pair, i < len(listed), known)
    return next(filter(None, (search.found() for search in searches)), None)


class FailingCases:
    """Failing cases, and the mistake that explains most of them so far.

    output: the index of the only result to compare; None compares all. Other arguments: see `name_mistake`.
    """

    def __init__(self, name, failing, passing, later=(), extreme=(), output=None):
        self.name, self.failing, self.passing, self.output = name, failing, passing, output
        self.later, self.extreme = later, extreme
        answered = [pair for pair in failing if pair[1] is not None]
        self.probes = answered[:: max(len(answered) // PROBES, 1)]
        self.fractional_answers = sum(has_fraction(got) for _, got in failing)
        self.best, self.pair, self.likely, self.listed = 0, None, None, False

    def explained(self) -> bool:
        """Return True if a mistake explains all cases of the group."""
        return self.best == len(self.failing)

    def try_mistake(self, pair: tuple, listed: bool, known: dict) -> None:
        """Keep a mistake if it explains more cases than the best one so far.

        pair: (sentence, function), as in MISTAKES.
        listed: False if the mistake was made by rule.
        known: {id of a case: the mistake's results}.
        """
        suspect = Suspect(self.name, pair[1], self.output, known)
        if self.explained() or (self.probes and suspect.denied(self.probes[0])):
            return
        if not any(suspect.explains(args, out) for args, out in self.probes):
            return
        shown = [suspect.explains(args, out) for args, out in self.failing]
        least = self.best * (1 if listed or not self.listed else 2)  # a rule may fit more cases by chance
        if sum(shown) <= least or not self.confirmed(suspect, shown):
            return
        if not any(suspect.wrong(args) for args in self.passing):
            self.best, self.pair, self.listed = sum(shown), pair, listed
        elif all(shown) and listed and self.fractional_answers >= CERTAIN:
            self.likely = self.likely or pair  # although the function is right where the mistake is wrong

    def confirmed(self, suspect: Suspect, shown: list[bool]) -> bool:
        """Return True if no other case contradicts a mistake that explains some cases.

        shown: for each failing case, True if it is explained.
        """
        if suspect.contradicted(self.failing, shown, widths):
            return False
        shown = [*shown, *(suspect.explains(args, out) for args, out in self.later)]
        failing = [*self.failing, *self.later]
        if suspect.contradicted(failing, shown, widths):
            return False
        extreme = [case_kind(args) == EXTREME for args, _ in failing]
        fitting = sum(map(operator.and_, extreme, shown))
        return sum(map(suspect.wrong, self.extreme)) <= fitting

    def found(self) -> tuple[str, Callable[..., bool]] | None:
        """Return the mistake that was found, as `name_mistake` returns it."""
        pair = self.pair or self.likely
        return pair and (pair[0], Suspect(self.name, pair[1], self.output).explains)


class Search:
    """A search for a mistake that explains all results of an op, or one mistake for each result.

    words: the condition that the given cases meet, or "" if they are all cases.
    split: False looks only for a mistake that explains all results together.
    groups: a `FailingCases` for all results together, and one for each result.
    """

    def __init__(self, name, failing, passing, later=(), extreme=(), words="", split=True):
        self.words, self.groups = words, [FailingCases(name, failing, passing, later, extreme)]
        answered = [(args, out) for args, out in failing if out is not None]
        self.labels = OPS[name].outputs
        if not split or len(self.labels) < 2 or any(len(out) != len(self.labels) for _, out in answered):
            return
        parts = []
        for i in range(len(self.labels)):
            wrong, fine = part_of(name, answered, i)
            more = part_of(name, [pair for pair in later if pair[1] is not None], i)[0]
            if wrong:
                parts.append(FailingCases(name, wrong, [*passing, *fine], more, output=i))
        self.groups += parts if len(parts) > 1 else []

    def found(self) -> tuple[str, Callable[..., bool]] | None:
        """Return the mistake or mistakes that explain the results, as `name_mistake` returns them."""
        whole, *parts = self.groups
        where = self.words and f", where {self.words} (elsewhere more is wrong)"
        found = whole.found()
        if found and (whole.explained() or not where):
            return found[0] + where, found[1]
        named = [part for part in parts if part.pair and part.explained()]
        if len(named) < len(parts):
            named = [part for part in named if part.fractional_answers >= CERTAIN and not where]
        if not named:
            return None
        several = [(self.labels[part.output], *part.found()) for part in named]
        sentences = {said for _, said, _ in several}
        said = "; ".join(f"for {label}: {said}" for label, said, _ in several)
        said = sentences.pop() if len(sentences) == 1 and len(named) == len(parts) else said
        said += " (elsewhere more is wrong)" * (len(named) < len(parts))
        return said + where, lambda *case: any(explains(*case) for *_, explains in several)


def part_of(name: str, pairs: Sequence[tuple], output: int) -> tuple[list[tuple], list]:
    """Return pairs (case, results) on which result number `output` is wrong, and the cases of all others.

    The other results are replaced by right ones. An empty result is never wrong: it has a shape only.
    """
    alone = [(args, with_right(name, args, out, output)) for args, out in pairs]
    wrong = [(args, out) for args, out in alone if out is not None and numbers_wrong(name, out, args)
             and np.size(right(name, args)[0][output])]
    seen = {id(args) for args, _ in wrong}
    return wrong, [args for args, _ in alone if id(args) not in seen]


def divided(name: str, failing: list[tuple], passing: Sequence[tuple], later: Sequence[tuple],
            extreme: Sequence[tuple]) -> Iterator[Search]:
    """Yield a search over all cases, then one for each condition, over the cases that meet the condition."""
    yield Search(name, failing, passing, later, extreme)
    for words, holds, switches in conditions(name, failing[0][0] if failing else ()):
        some = [pair for pair in failing if holds(bind(name, pair[0]))]
        more = [pair for pair in later if holds(bind(name, pair[0]))]
        if len(some) < len(failing) and sum(has_fraction(got) for _, got in (*some, *more)) >= CERTAIN:
            fine, rare = ([args for args in each if holds(bind(name, args))] for each in (passing, extreme))
            yield Search(name, some, fine, more, rare, words, split=switches)


def conditions(name: str, args: Sequence[Any]) -> Iterator[tuple[str, Callable[[dict], bool], bool]]:
    """Yield conditions on arguments as (words such as "causal is True", function that tests this, flag).

    The flag is True if the condition is only about switches (True, False or None). A switch chooses between
    ways through a function, each of which may have its own mistakes.
    """
    given = bind(name, args) if args else {}
    fixed = {key: value for key, value in defaults(name).items() if key in given}
    for some in [*([key] for key in fixed), *([list(fixed)] if len(fixed) > 1 else [])]:
        wanted = {key: fixed[key] for key in some}
        words = " and ".join(f"{key} is {value}" for key, value in wanted.items())
        switches = all(value is None or isinstance(value, bool) for value in wanted.values())
        yield words, functools.partial(is_given, wanted=wanted), switches
    for key, other in itertools.permutations(given, 2):
        if isinstance(given[key], np.ndarray) and given[key].dtype.kind in "iu" and type(given[other]) is int:
            yield f"no element of {key} is {other}", functools.partial(lacks, key=key, other=other), False


def lacks(given: dict[str, Any], key: str, other: str) -> bool:
    """Return True if no element of the argument `key` equals the argument `other`."""
    return not (given[key] == given[other]).any()


def miscounted(name: str, answered: list[tuple]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the mistake in a wrong count of parameters or FLOPs: one or two terms missing or too many.

    The terms are products of powers of the arguments, fitted to the errors by least squares. Yields nothing
    if they do not fit. answered: pairs (case, the student's results). Edits of the specification would not
    find it, because they cannot tell two terms of equal size apart.
    """
    whole = [(args, out[0]) for args, out in answered if len(out) == 1
             and all(type(x) is int and abs(x) < 2**63 for x in (*args, *out))]
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
    """Return the right count plus wrong terms; each term is (factor, power of each argument)."""
    return spec(*args) + sum(n * math.prod(map(pow, args, powers)) for n, powers in terms)


def term(name: str, factor: int, powers: Sequence[int]) -> str:
    """Format a term of the count `name`: "- 2 * width * width" for factor -2 and powers (0, 0, 0, 2)."""
    names = [each for each, n in zip(parameters(name), powers, strict=True) for _ in range(n)]
    return f"{'-' if factor < 0 else '+'} {' * '.join([str(abs(factor)), *names])}"
