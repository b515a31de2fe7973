"""Why a function fails: the smallest input, and the known mistake or the first step that explains it.

Hypothesis looks for the smallest input, and the known mistakes are run on it: if one gives the student's
numbers, it is named. If none does, the first step of the specification that no variable of theirs holds is.
"""

import math
import random
import sys
import time
import warnings

import numpy as np
from hypothesis import find, settings

from tinyllm.ops import OPS
from tinyllm.teach.complaints import complaint, require_forms, results_of, said, strays
from tinyllm.teach.drawing import QUIET, draw_cases, nature, without_found_constants
from tinyllm.teach.workers import Failure
from tinyllm.testing import CASES, MISTAKES
from tinyllm.testing.check import arrays, as_text, describe
from tinyllm.testing.mistake import outcome, same
from tinyllm.testing.relations import bind, parameters

SHRINK_SECONDS = 5
READABLE = 300  # letters of an input; where what fails is longer, a grader tries the shortest of more cases
MORE_CASES, MORE_TRIES = 400, 12


def explained(task, start, broken, verdict, effort, known=()):
    """Find the smallest input that fails, and what the student did there."""
    title, wrong = next(iter(broken.items()))
    with Tries(task, start, title, effort) as tries:
        failing = [args for cases in broken.values() for args, _ in cases]
        first, why = min(wrong, key=lambda pair: weight(pair[0]))
        smallest = min(tries.smallest(first), first, key=tries.letters) if effort else tries.readable(first)
        why = (tries.complaint(smallest) if smallest is not first else None) or why
        outputs = [(args, tries.output(args)) for args in [smallest, *failing[:12]]]
        sentence = name_mistake(task.op, outputs, known)
        for k in range(1, 4 if not (sentence or effort) else 0):  # another input may be plainer than this
            if turned := name_mistake(task.op, outputs[k:] + outputs[:k], known):
                smallest, sentence = outputs[k][0], turned
                break
        told = sentence or not well_formed(task.op, outputs[0])
        step = None if told else tries.first_different_step(smallest)
    return verdict(
        state="failed", message=said(why), line=getattr(why, "line", None), mistake=sentence, step=step,
        smallest_input=describe(task.op, smallest),
    )  # fmt: skip


def well_formed(name, output):
    """Whether the results on an input are what an op returns, be the numbers right or wrong."""
    args, results = output
    try:
        require_forms(name, results or [], args)
    except AssertionError:
        return False
    return True


def weight(args):
    """How large an input is: numbers in its arrays, then letters to write it; an empty one says least."""
    size = sum(a.size for a in arrays(args))
    return size or 10**9, len(repr(args))


def name_mistake(name, outputs, more=()):
    """The known mistake that explains the first output, and the most of the others."""
    known = [(args, out) for args, out in outputs if out is not None]
    if not known or outputs[0][1] is None:
        return None
    scores = []
    for sentence, function in (*more, *MISTAKES.get(name, ())):
        with warnings.catch_warnings(), np.errstate(all="ignore"):  # of somebody else's mistake
            warnings.simplefilter("ignore")
            matches = [alike(out, outcome(name, function, args)) for args, out in known]
        scores.append((sum(matches) if matches[0] else 0, sentence))
    best = max(scores, key=lambda score: score[0], default=(0, None))
    return best[1] if best[0] else None


def alike(got, other):
    """Whether results agree, also where they are too odd to be compared."""
    try:
        return same(got, other)
    except Exception:
        return False


class Tries:
    """A worker that is replaced when it falls, to try many inputs on a function that fails."""

    def __init__(self, task, start, title, effort):
        self.task, self.start, self.title, self.effort = task, start, title, effort
        self.worker = None
        self.deadline = time.monotonic() + SHRINK_SECONDS

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.worker:
            self.worker.__exit__()

    def fresh(self):
        if self.worker is None or self.worker.failure:
            self.__exit__()
            self.worker = self.start()
        return self.worker

    def complaint(self, args):
        return complaint(self.task.op, self.title, self.fresh(), self.task.name, args)

    def output(self, args):
        """The results on an input, or None where there are none; where C strays, that is the result."""
        answer = self.fresh().call(self.task.name, args, send_args=True)
        if isinstance(answer, Failure):
            return [answer.message] if strays(answer) else None
        return results_of(self.task.op, *answer)

    def smallest(self, args):
        """The smallest input with this complaint that Hypothesis finds; otherwise the one given."""
        name, best = self.task.op, args

        def fails(drawn):
            nonlocal best
            if time.monotonic() > self.deadline:
                return False
            tried = tuple(bind(name, drawn).values())
            if self.complaint(tried) is None:
                return False
            best = min(best, tried, key=weight)
            return True

        try:
            few = settings(max_examples=self.effort, **QUIET)
            with without_found_constants():
                found = find(CASES[name], fails, settings=few, random=random.Random(0))
        except Exception:  # NoSuchExample, or Flaky where the time was up
            return best
        return tuple(bind(name, found).values())

    def readable(self, args):
        """The shortest of more cases with this complaint, where this one is long to read; else the one given.

        It is bounded by counts and by no clock, so that a grader says the same whenever it is asked.
        """
        if self.letters(args) <= READABLE:
            return args
        cases = [x for x in draw_cases(self.task.op, MORE_CASES) if nature(x) == self.title]
        smaller = sorted((x for x in cases if self.letters(x) < self.letters(args)), key=self.letters)
        return next((x for x in smaller[:MORE_TRIES] if self.complaint(x)), args)

    def letters(self, args):
        """How much there is to read of an input."""
        return len(describe(self.task.op, args))

    def first_different_step(self, args):
        """Which variable of the specification none of the student's equals, and its value -> str or None."""
        name = self.task.op
        answer = self.fresh().steps(self.task.name, args)
        if isinstance(answer, Failure):
            return None
        theirs = [value for _, value in answer]
        for step, value in steps_of(OPS[name].reference, args):
            if step in parameters(name) or not isinstance(value, np.ndarray):
                continue
            if not any(alike([other], [value]) for other in theirs):
                return f"{step} = {as_text(value)}"
        return None


def steps_of(function, args):
    """Run a function and look at its variables when it returns -> pairs of name and value, in order."""
    found = {}

    def look(frame, event, value):
        if event == "return" and frame.f_code is function.__code__:
            found.update(frame.f_locals)

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        function(*args)
    finally:
        sys.setprofile(before)
    order = {name: i for i, name in enumerate(function.__code__.co_varnames)}
    return sorted(found.items(), key=lambda pair: order.get(pair[0], math.inf))
