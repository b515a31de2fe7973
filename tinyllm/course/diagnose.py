"""Explain why a function fails: find the mistake, a small failing input, and the first wrong step.

`naming` finds the edit of the op that gives the same wrong numbers, in order of likelihood. Then the smallest
input is looked for, among many that fail in the same way. If no edit fits, `contrast` says what all wrong
results have in common, and the specification's first variable that the function never computes is shown.
"""

import contextlib
import copy
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tinyllm.course import contrast
from tinyllm.course.drawing import MORE_CASES, NORMAL, WRITES, case_kind
from tinyllm.course.failures import DIFFER, ask, complaint, failed_property, format_failure, results_in, right
from tinyllm.course.fork_server import recorded
from tinyllm.course.matching import ROUNDED, alike, form_error, wrong_in_both
from tinyllm.course.naming import confirming, doubt, name_mistake, weight
from tinyllm.course.syllabus import Exercise
from tinyllm.course.workers import Failure
from tinyllm.ops import OPS
from tinyllm.testing.catalog import draw_cases
from tinyllm.testing.check import as_text, describe
from tinyllm.testing.edits import readable
from tinyllm.testing.properties import ARGUMENTS, EXTREME, RIGHT, STEADY
from tinyllm.testing.relations import parameters

NAMING = 0.6  # at most this share of a student's time is for finding a name
TRIES = 60  # inputs that are smaller than the one at hand
MOST = 40  # more failing cases that must confirm a name


def diagnose(task: Exercise, start: Callable[[], Any], broken: dict[str, list[tuple]],
             tried: Sequence[tuple], verdict: Any, options: Any) -> Any:
    """Explain a failure: choose cases, name the mistake, find a small input and the first wrong step.

    broken: {property: [(args, complaint)]}; tried: all cases whose numbers were checked. verdict: makes the
    Verdict of its fields. start, options: see `checker.judge`.
    """
    title, pairs = choose(broken)
    wrong = confirming(pairs)
    with Tries(task, start, title, options.every or {}, options.clock()) as tries:
        failing = [(args, tries.output(args)) for args, _ in wrong]
        # A function that only writes into its input has no other fault to be looked for.
        searched = any(format_failure(why) != WRITES for _, why in pairs)
        known, wrong_cases = options.known, [args for args, _ in pairs]
        mistake = find_mistake(failing, wrong_cases, tried, tries, known) if searched else None
        # The mistake is known before the input is made small: the input that is shown must still show it.
        tries.mistake = mistake and mistake[1]
        first = next(pair for pair, (args, out) in zip(wrong, failing, strict=True)
                     if not mistake or mistake[1](args, out))
        smallest, why = first if title == ARGUMENTS else tries.smallest(*first)
        out = tries.output(smallest) or []
        formed = form_error(task.op, out, smallest) is None
        # A variable that differs says nothing about a result that has only the wrong type or shape.
        step = tries.first_different_step(smallest) if searched and not mistake and formed else None
        more = "; its numbers are wrong, too" if not formed and wrong_in_both(task.op, out, smallest) else ""
        tries.renew()  # so that all that the last worker prints is from this call
        tries.output(smallest)
    # The smallest input may break another property than the one that was tried: name that one first.
    about = failed_property(title, why, formed, case_kind(first[0]))
    searched = searched and not mistake and title.startswith(RIGHT)
    facts = contrast.describe(task.op, failing, bare=not step) if searched else None
    return verdict(
        state="failed", broken=tuple(sorted(verdict.keywords["broken"], key=lambda each: each != about)),
        message=format_failure(why) + more, line=getattr(why, "line", None),
        step=step, mistake=readable(task.op, mistake[0] + doubt(mistake, failing)) if mistake else facts,
        smallest_input=describe(task.op, smallest),
    )


def choose(broken: dict[str, list[tuple]]) -> tuple[str, list[tuple]]:
    """Choose the property to explain; return it and all pairs (case, what is wrong) to explain.

    Wrong numbers say more about the cause than a wrong type. If results differ by chance, they say nothing.
    """
    by_chance = any(why == DIFFER for _, why in broken.get(STEADY, ()))
    numbers = [] if by_chance else [title for title in broken if title.startswith(RIGHT)]
    titles = numbers or ([STEADY] if by_chance else list(broken)[:1])
    return titles[0], [pair for title in titles for pair in broken[title]]


def find_mistake(failing: list[tuple], wrong: list[tuple], tried: Sequence[tuple], tries: "Tries",
                 known: Sequence[tuple]) -> Any:
    """Find the mistake that explains the failing cases -> (sentence, function) or None; see `name_mistake`.

    failing: pairs (case, the student's results). wrong: all cases that fail, of all that were tried.
    known: more mistakes than those of the op.
    """
    # The name must also fit other failing cases, and cases that pass: a few are enough.
    used, failed = {id(args) for args, _ in failing}, set(map(id, wrong))
    rest = sorted((args for args in wrong if id(args) not in used), key=lambda x: case_kind(x) not in NORMAL)
    fine = [args for args in tried if id(args) not in failed]
    passing = confirming([(args, None) for args in fine if case_kind(args) in NORMAL])
    extreme = [args for args in fine if case_kind(args) == EXTREME]
    # If there is no limit, this is inf - inf = NaN, which is not < 0.
    shrinking = (1 - NAMING) * tries.left()
    return name_mistake(tries.task.op, failing, known, [args for args, _ in passing],
                        lambda: tries.left() - shrinking,
                        [(args, tries.output(args)) for args in rest[:MOST]], extreme)


class Tries(contextlib.ExitStack):
    """Try a student's function on inputs, to find a small one on which it fails. Replace workers that die.

    every: see `checker.CheckOptions`. left: returns the seconds that are left; then no other input is tried.
    """

    def __init__(self, task, start, title, every, left):
        super().__init__()
        self.task, self.start, self.title, self.every, self.left = task, start, title, every, left
        self.worker = None
        self.kind = self.mistake = None  # the kind of inputs to find, and the mistake that they must show

    def fresh(self) -> Any:
        return self.renew() if self.worker is None or self.worker.failure else self.worker

    def renew(self) -> Any:
        self.close()
        self.worker = self.enter_context(self.start())
        return self.worker

    def complaint(self, args: Sequence[Any]) -> Failure | str | None:
        return complaint(self.task.op, self.title, self.fresh(), self.task.name, args)

    def fails(self, args: Sequence[Any]) -> bool:
        """Return True if args are of the wanted kind and fail, with a mistake's results if one is named."""
        if self.kind not in (None, case_kind(args)) or self.left() < 0:
            return False
        why = self.complaint(args)
        if why is None or self.mistake is None:
            return why is not None
        return self.mistake(args, self.output(args))

    def output(self, args: Sequence[Any]) -> list[Any] | None:
        """Return the results on an input; None if the call fails."""
        return results_in(self.task.op, ask(self.task.op, self.fresh(), self.task.name, args))

    def smallest(self, args: tuple, why: Failure | str) -> tuple[tuple, Failure | str]:
        """Return the smallest input of many that fails as `args` does, or `args`, and what is wrong there."""
        self.kind = case_kind(args)
        drawn = [x for some in self.every.values() for x in some] or draw_cases(self.task.op, MORE_CASES)
        smaller = [x for x in drawn if case_kind(x) == self.kind and weight(x) < weight(args)]
        args = next(filter(self.fails, sorted(smaller, key=weight)[:TRIES]), args)
        for axis in sorted({axis for axes in declared(self.task.op) for axis in axes or () if axis != "..."}):
            tried = first_of_axis(self.task.op, args, axis)
            if tried and self.fails(tried):
                args = tried
        return args, self.complaint(args) or why

    def first_different_step(self, args: Sequence[Any]) -> str | None:
        """Return the value of the specification's first array that the function lacks, or None.

        A name that stands in the op's docstring comes before it: "lse = ...".
        """
        name = self.task.op
        answer = self.fresh().steps(self.task.name, args)
        if isinstance(answer, Failure):
            return None
        theirs, agreed = numbers_of(value for _, value in answer), False
        for step, value in steps_of(OPS[name].reference, args):
            if step in parameters(name) or not isinstance(value, np.ndarray):
                continue
            if not among(value, theirs):
                results = right(name, args)[0]
                is_result = any(alike([value], [result], ROUNDED) for result in results)
                said = f"{step} = " * (step in re.findall(r"\w+", OPS[name].__doc__ or ""))  # else it is ours
                return f"{said}{as_text(value)}" if agreed and not is_result else None
            agreed = True
        return None


def declared(name: str) -> list[Any]:
    """Return the axes of an op's arguments by their letters, such as [["...", "I"], None]."""
    return getattr(OPS[name].check, "axes", [])


def first_of_axis(name: str, args: tuple, axis: str) -> tuple | None:
    """Cut an axis to its first element in all arguments that declare it; None if this is no new case."""
    found, largest = list(args), 0
    for i, axes in enumerate(declared(name)):
        if axes and axis in axes and isinstance(args[i], np.ndarray):
            at = axes.index(axis) - len(axes)
            largest = max(largest, args[i].shape[at])
            found[i] = np.take(args[i], [0], at) if args[i].shape[at] else args[i]
    cut = tuple(found)
    with contextlib.suppress(Exception):  # any error means that they are refused
        OPS[name].check(*cut)
        right(name, cut)
        return cut if largest > 1 else None
    return None


def numbers_of(values: Iterable[Any]) -> np.ndarray:
    """Return all numbers in some arrays, lists and numbers, sorted, without NaN."""
    found = [np.zeros(0)]
    for value in values:
        with contextlib.suppress(ValueError, TypeError, OverflowError):  # a dict, a text, rows that differ
            found.append(np.ravel(np.asarray(value, np.float64)))
    numbers = np.sort(np.concatenate(found))
    return numbers[~np.isnan(numbers)]


def among(value: Any, numbers: np.ndarray) -> bool:
    """Return True if every number of an array is close to one of `numbers`, which are sorted."""
    wanted = numbers_of([value])
    if not wanted.size or not numbers.size:
        return not wanted.size
    after = np.searchsorted(numbers, wanted)
    near = numbers[np.clip([after - 1, after], 0, len(numbers) - 1)]
    size = np.max(np.abs(wanted), where=np.isfinite(wanted), initial=0)
    return bool(np.isclose(near, wanted, ROUNDED, ROUNDED * size).any(axis=0).all())


def steps_of(function: Callable[..., Any], args: Sequence[Any]) -> list[tuple[str, Any]]:
    """Run a function; return (name, value) of what its local variables held, in order."""
    with recorded(function) as steps:
        function(*map(copy.deepcopy, args))
    return [(name, value) for (name, _), value in steps.items()]
