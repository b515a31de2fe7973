"""Find the known mistake that gives the same wrong numbers as a student's function.

The known mistakes are listed in `testing` or made by rule. They run on the cases on which the student's
function fails. A mistake is named if it gives the student's numbers on some cases, unless it gives clearly
different numbers on others, or is wrong where the student is right.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tinyllm.course.drawing import CASE_KINDS, case_kind, per_case
from tinyllm.course.failures import right
from tinyllm.course.matching import Suspect, fractions, numbers_wrong, telling, with_right
from tinyllm.ops import OPS
from tinyllm.testing.by_rule import every_edit, two_mistakes
from tinyllm.testing.catalog import MISTAKES
from tinyllm.testing.check import arrays
from tinyllm.testing.properties import EXTREME
from tinyllm.testing.values import kind

PROBES = 4  # a mistake must fit one of these cases before the others are tried
ELSEWHERE = " (elsewhere more is wrong)"
ENOUGH, MOST = 3, 3 / 4  # of whole numbers, which agree by chance: so many results, and so many of all
ALL, SOME, NEARLY = "all", "some", "nearly"  # what a mistake explains: all cases, some, or some nearly
LEAST = 1 / 4  # of all cases, which a mistake made by rule must explain if values are chosen, not computed
CERTAIN = 6  # so many failing cases with a mistake's numbers are proof
CONFIRMING = 16  # cases that fail, and as many others, to confirm a mistake on; of lists three times as many
FEWEST = 3  # wrong results that a name must explain to be said without doubt, and half of all
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


@per_case
def widths(args: Sequence[Any]) -> Any:
    """Return the length of the last axis of each array in a case; without arrays, the case as text."""
    return tuple(a.shape[-1:] for a in arrays(args)) or repr(args)


def name_mistake(name: str, failing: list[tuple], more: Sequence[tuple] = (), passing: Sequence[tuple] = (),
                 left: Callable[[], float] = lambda: 1.0,
                 later: Sequence[tuple] = (), extreme: Sequence[tuple] = ()) -> tuple[str, Callable] | None:
    """Find the mistake that explains wrong results; return a sentence and `explains(case, results)`, or None.

    Mistakes are tried in the order of their likelihood: those that are listed, then edits made by rule. Each
    result of an op may have a mistake of its own.

    failing: pairs (case, the student's results, or None if the function raised), the simplest case first.
    more: known mistakes in addition to the op's own.
    passing: ordinary cases on which the student is right.
    left: returns the seconds that are left for trying mistakes made by rule.
    later: more pairs like `failing`, which must confirm a name.
    extreme: cases with extreme numbers on which the student is right.
    """
    listed = [*more, *MISTAKES.get(name, ())]
    whole = FailingCases(name, failing, passing, later, extreme)
    groups = [whole, *each_result(name, failing, passing, later)]
    near, far = (functools.partial(every_edit, name, each) for each in (True, False))
    two = functools.partial(two_mistakes, name)
    stages: list[tuple] = [(listed, near, ALL), (listed, near, SOME), ([], two, ALL), ([], far, ALL),
                           ([], far, SOME), (listed, near, NEARLY)]
    if not whole.answered:  # no edit of the right formula is this wrong
        stages = [(listed, list, ALL)]
    part = None  # what explains only some cases: a second mistake, in a corner, may hide the first in others
    for known, made, how in stages:
        for group in groups:
            group.begin(how)
        found = search(name, known, made, groups, left)
        if made is two and found and (doubt(found, failing) or not any(
                telling(name, args, out) for args, out in whole.answered)):
            continue  # with a second mistake, too much fits by chance, or if all is NaN
        if found and how == ALL and not found[0].endswith(ELSEWHERE):
            return found
        part = part or found
        if left() < 0:
            break
    return part


def doubt(mistake: tuple[str, Callable], failing: list[tuple]) -> str:
    """Return a remark on a mistake, as in `name_mistake`, that explains few of the wrong results, or ""."""
    if mistake[0].endswith(ELSEWHERE):
        return ""
    answered = sum(not any(x is None for x in out or [out]) for _, out in failing)
    shown, few = sum(mistake[1](args, out) for args, out in failing), max(FEWEST, answered / 2)
    return f" (perhaps: this explains {shown} of {len(failing)} wrong results)" * (shown < few)


def search(name: str, listed: Sequence[tuple], made: Callable[[], Iterable[tuple]],
           groups: Sequence["FailingCases"], left: Callable[[], float]) -> tuple[str, Callable] | None:
    """Try mistakes on groups of failing cases (all results, and each); return one as `name_mistake` does."""
    whole, *parts = groups
    for i, pair in enumerate(itertools.chain(listed, made())):
        if whole.explained() or (i >= len(listed) and left() < 0):
            break
        known: dict = {}
        for group in groups:
            group.try_mistake(pair, i < len(listed), known)
    if whole.pair:
        return whole.pair[0] + ELSEWHERE * (whole.how != ALL), whole.suspect().explains
    return of_parts(name, parts)


class FailingCases:
    """Failing cases, and the mistake that explains most of them so far.

    output: the index of the only result to compare; None compares all. Other arguments: see `name_mistake`.
    """

    def __init__(self, name, failing, passing, later=(), extreme=(), output=None):
        self.name, self.failing, self.passing, self.output = name, failing, passing, output
        self.later, self.extreme = later, extreme
        self.pair: Any = None  # the mistake that explains the most
        self.answered = [pair for pair in failing if pair[1] is not None]
        self.begin(ALL)

    def begin(self, how: str) -> None:
        """Forget what was found. how: ALL, SOME or NEARLY: what a mistake must explain."""
        self.how, self.best, self.pair, self.listed = how, 0, None, False
        self.probes = self.answered[:: max(len(self.answered) // PROBES, 1)]
        if how == NEARLY and any(kind(out) != "f" for _, some in self.answered for out in some):
            self.probes = []  # only floats can be nearly the same
        elif how != ALL:  # also a case of each number of axes: some mistakes are seen in vectors only
            self.probes += {tuple(a.ndim for a in arrays(pair[0])): pair for pair in self.answered}.values()

    def explained(self) -> bool:
        """Return True if a mistake explains all cases of the group."""
        return self.best == len(self.failing)

    def try_mistake(self, pair: tuple, listed: bool, known: dict) -> None:
        """Keep a mistake if it explains more cases than the best one so far, and no case contradicts it.

        pair: (sentence, function), as in MISTAKES.
        listed: False if the mistake was made by rule.
        known: {id of a case: the mistake's results}.
        """
        suspect = Suspect(self.name, pair[1], self.output, known, self.how != NEARLY)
        # Most edits end here, after one call: they give other numbers on the first ordinary case.
        if self.explained() or (self.probes and self.how == ALL and suspect.denied(self.probes[0])):
            return
        probes = self.answered if listed and self.how == SOME else self.probes
        if not any(suspect.explains(args, out) for args, out in probes):
            return
        shown = [suspect.explains(args, out) for args, out in self.failing]
        least = self.best * (1 if listed or not self.listed else 2)  # a rule may fit more cases by chance
        if sum(shown) > least and self.confirmed(suspect, shown, listed):
            self.best, self.pair, self.listed = sum(shown), pair, listed

    def confirmed(self, suspect: Suspect, shown: list[bool], listed: bool) -> bool:
        """Return True if no other case contradicts a mistake. shown: is each failing case explained?"""
        failing = [*self.failing, *self.later]
        shown = [*shown, *(suspect.explains(args, out) for args, out in self.later)]
        answered = [pair for pair, fits in zip(failing, shown, strict=True)
                    if fits and (self.how == ALL or numbers_wrong(self.name, pair[1], pair[0]))]
        results = [out for _, out in answered]
        sure = False
        if self.how != ALL:
            few = len(set(map(repr, results))) < ENOUGH or len(results) < MOST * len(failing)
            proof = [each for args, out in answered if (each := telling(self.name, args, out))]
            numbers = CERTAIN if self.how == SOME else 2 * CERTAIN
            sure = len(proof) >= CERTAIN or (len(proof) >= ENOUGH and len(set().union(*proof)) >= numbers)
            # Values that are only chosen, and not computed, often agree by chance with those of a rule.
            chosen = all(isinstance(each[0], str) for each in proof)
            sure = sure and (listed or not chosen or len(answered) >= LEAST * len(failing))
            rough = self.how == NEARLY
            if ((few or rough) and not sure) or (rough and 2 * sum(shown) < len(shown)):
                return False
        elif suspect.contradicted(failing, shown, widths):
            return False
        # The student is right on some cases. A mistake that is wrong on one of them is another mistake,
        # unless it explains far more: then the student may have thought of this corner.
        wrong = sum(map(suspect.wrong, self.passing))
        if wrong and (self.how != SOME or not sure or 4 * wrong > len(results)):
            return False
        # Extreme numbers may be right by chance, as where exp does not overflow after all: these are counted.
        extreme = [fits for (args, _), fits in zip(failing, shown, strict=True) if case_kind(args) == EXTREME]
        return sum(map(suspect.wrong, self.extreme)) <= sum(extreme)

    def suspect(self) -> Suspect:
        """Return the mistake that was found."""
        return Suspect(self.name, self.pair[1], self.output, close=self.how != NEARLY)


def each_result(name: str, failing: Sequence[tuple], passing: Sequence[tuple],
                later: Sequence[tuple]) -> list[FailingCases]:
    """Return the failing cases of each result that is wrong; [] if only one result is wrong."""
    labels = OPS[name].outputs
    answered = [(args, out) for args, out in failing if out is not None]
    if len(labels) < 2 or any(len(out) != len(labels) for _, out in answered):
        return []
    parts = []
    for i in range(len(labels)):
        wrong, fine = part_of(name, answered, i)
        more = part_of(name, later, i)[0]
        parts += [FailingCases(name, wrong, [*passing, *fine], more, output=i)] if wrong else []
    return parts if len(parts) > 1 else []


def part_of(name: str, pairs: Sequence[tuple], output: int) -> tuple[list[tuple], list]:
    """Return pairs (case, results) on which result number `output` is wrong, and the cases of all others.

    The other results are replaced by right ones. An empty result is never wrong: it has a shape only.
    """
    alone = [(args, with_right(name, args, out, output)) for args, out in pairs]
    wrong = [(args, out) for args, out in alone if out is not None and numbers_wrong(name, out, args)
             and np.size(right(name, args)[0][output])]
    seen = {id(args) for args, _ in wrong}
    return wrong, [args for args, _ in alone if id(args) not in seen]


def of_parts(name: str, parts: Sequence[FailingCases]) -> tuple[str, Callable[..., bool]] | None:
    """Return the mistakes of single results, as `name_mistake` returns one; None if there are none."""
    named = [part for part in parts if part.pair and part.explained()]
    if any(part.how != ALL for part in parts):
        named = [part for part in parts if part.pair]
    elif len(named) < len(parts):  # a part of the truth must be certain
        named = [part for part in named if sum(bool(fractions(got)) for _, got in part.failing) >= CERTAIN]
    if not named:
        return None
    labels = OPS[name].outputs
    told: dict[str, list[str]] = {}
    for part in named:
        told.setdefault(part.pair[0], []).append(labels[part.output])
    said = "; ".join(f"for {' and '.join(some)}: {sentence}" for sentence, some in told.items())
    said = next(iter(told)) if len(next(iter(told.values()))) == len(labels) else said
    said += ELSEWHERE * (len(named) < len(parts) or parts[0].how != ALL)
    suspects = [part.suspect() for part in named]
    return said, lambda *case: any(suspect.explains(*case) for suspect in suspects)
