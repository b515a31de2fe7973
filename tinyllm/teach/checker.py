"""The checker: the library's own cases and properties, tried on a function that runs in another process.

A task is judged by its op. The op's cases are sorted into properties (ordinary numbers, extreme ones, empty
arrays, views...), each property gets a fresh worker, and what holds is counted. For what does not, Hypothesis
looks for the smallest input, and the known mistakes are run on it: if one gives the student's numbers, it is
named. If none does, the first step of the specification that no variable of theirs holds is.
"""

import functools
import importlib
import math
import random
import re
import sys
import time
import warnings
from dataclasses import dataclass

import numpy as np
from hypothesis import find, settings

from tinyllm.ops import OPS
from tinyllm.teach.drawing import (
    CASES_PER_TASK,
    QUIET,
    WRITES,
    draw_cases,
    nature,
    properties,
    without_found_constants,
)
from tinyllm.teach.syllabus import ready
from tinyllm.teach.workers import Failure, printable
from tinyllm.testing import CASES, MISTAKES
from tinyllm.testing.check import arrays, as_text, bits, describe, expectation, require_close, require_form
from tinyllm.testing.mistake import outcome, same
from tinyllm.testing.properties import FORM, PURE, STEADY
from tinyllm.testing.relations import bind, output_names, parameters, specs_only

SHRINK_EXAMPLES = 300
SHRINK_SECONDS = 5
READABLE = 300  # letters of an input; where what fails is longer, a grader tries the shortest of more cases
MORE_CASES, MORE_TRIES = 400, 12


@dataclass(frozen=True)
class Verdict:
    """What is known of one task. state: passed, failed, not_attempted, timed_out or blocked.

    Blocked is what could not be tried: the file does not run, or it asked for what a worker may not have.
    """

    task: str
    state: str
    held: tuple[str, ...] = ()  # names of the properties that hold
    broken: tuple[str, ...] = ()  # and of those that do not
    message: str = ""
    line: int | None = None
    mistake: str | None = None
    step: str | None = None  # the first step that differs and what it should hold, where no mistake fits
    smallest_input: str | None = None
    runs: bool = True  # whether the file itself runs; if not, nothing in it was tried


def judge_task(task, start, folder, **options):
    """Check one task of any kind -> Verdict. folder: where the student's files are; options as in `judge`."""
    return JUDGES[task.kind](task, start, folder=folder, **options)


def judge_lesson(lesson, zygote, path):
    """Check every task of a lesson in a student's file -> pairs of Verdict and what was printed first.

    A file that does not run is tried once, and not for every task and property again.
    """
    with zygote.start(path) as worker:
        broken = worker.failure
    for task in lesson.tasks:
        if not ready(task) or task.kind not in JUDGES:
            continue
        workers = []
        if broken and task.kind != "c":  # what is written in C is in a file of its own
            every = properties(task.op) if task.kind == "op" else ()
            yield unusable(task, broken, every), ""
            continue

        def start(workers=workers):
            workers.append(zygote.start(path))
            return workers[-1]

        verdict = judge_task(task, start, path.parent)
        yield verdict, next(filter(None, (first_lines(worker.output) for worker in workers)), "")


WARNING = re.compile(r"^.*\.py:\d+: RuntimeWarning: .*\n(?:  .*\n)?", re.MULTILINE)  # NumPy's, of numbers
FOLDER = re.compile(r"^.*[/\\](?=[^/\\]+\.py:\d+: \w*Warning: )", re.MULTILINE)  # of a student's own warning


def first_lines(output, count=5):
    """The first lines of what a student's code printed, fit for a terminal -> str."""
    lines = FOLDER.sub("", WARNING.sub("", bytes(output).decode("utf-8", "replace"))).split("\n")
    return "\n".join(printable(line, 200) for line in lines[:count] if line.strip())


def judge(task, start, count=CASES_PER_TASK, variant=0, explain=True, folder=None, effort=SHRINK_EXAMPLES,
          known=()):  # fmt: skip
    """Check one op -> Verdict.

    start: a function that gives a fresh worker with the student's exercise.py. variant: the cases' seed.
    explain: whether a failure is looked into; effort: how many inputs are tried for the smallest that fails.
    known: mistakes to recognise beside those of the op, as (sentence, function).
    """
    held, broken, first = [], {}, None
    with specs_only():
        for title, cases in properties(task.op, count, variant).items():
            with start() as worker:
                if worker.failure:  # the file itself does not run: no input is to blame
                    return unusable(task, worker.failure, properties(task.op, count, variant))
                tried = [(args, complaint(task.op, title, worker, task.name, args)) for args in cases]
                wrong = [(args, why) for args, why in tried if why]
            if not wrong:
                held.append(title)
                continue
            broken[title] = wrong
            first = first or wrong[0]
            if isinstance(first[1], Failure) and first[1].state != "failed":
                break  # there is no function, or it does not come to an end
        if not broken:
            return Verdict(task.name, "passed", tuple(held))
        every = properties(task.op, count, variant)
        lost = tuple(title for title in every if title not in held)
        verdict = functools.partial(Verdict, task.name, held=tuple(held), broken=lost)
        why = first[1]
        if isinstance(why, Failure) and why.state != "failed":
            return verdict(state=why.state, message=said(why), line=why.line)
        if not explain:
            return verdict(state="failed", message=said(why), line=getattr(why, "line", None))
        return explained(task, start, broken, verdict, effort, known)


def unusable(task, failure, every):
    """The verdict on a function whose file cannot be imported."""
    state = "blocked" if failure.state == "failed" else failure.state
    message = said(failure)
    return Verdict(task.name, state, broken=tuple(every), message=message, line=failure.line, runs=False)


def complaint(name, title, worker, function, args):
    """What is wrong with one case under one property: a Failure, a sentence, or None if nothing is."""
    answer = worker.call(function, args, send_args=True)
    if isinstance(answer, Failure):
        return WRITES if "read-only" in answer.message else answer
    value, after = answer
    if title == PURE:
        same_bits = bits(list(after)) == bits(list(args)) if isinstance(after, list) else False
        return None if same_bits else WRITES
    try:
        results = results_of(name, value, after)
        if title == STEADY:
            again = worker.call(function, args, send_args=True)
            if isinstance(again, Failure):
                return again
            equal = [bits(x) for x in results] == [bits(x) for x in results_of(name, *again)]
            return None if equal else "two runs on one input differ"
        if title == FORM:
            require_forms(name, results, args)
        else:
            require_close(name, results, right(name, args))
    except AssertionError as error:
        return str(error)
    except Exception as error:  # a value so odd that no comparison stands it
        return f"the result cannot be compared with the right one ({type(error).__name__})"
    return None


_right: dict = {}  # id of a case -> the case, which must live as long, and what is right on it


def right(name, args):
    """What is right on a case; remembered, because a class is asked the same questions."""
    if id(args) not in _right:
        if len(_right) > 100_000:
            _right.clear()
        _right[id(args)] = (args, expectation(name, args))
    return _right[id(args)][1]


def results_of(name, value, after):
    """The list of an op's results: what it returned, or the arguments that it changed in place."""
    if OPS[name].mutates:
        places = [parameters(name).index(argument) for argument in OPS[name].mutates]
        return [after[i] for i in places] if isinstance(after, list) and len(after) > max(places) else []
    return list(value) if isinstance(value, tuple | list) else [value]


def require_forms(name, results, args):
    """Types and shapes alone. Raises AssertionError."""
    expected = right(name, args)[0]
    if len(results) != len(expected):
        raise AssertionError(f"it should return {len(expected)} results, not {len(results)}")
    labels = output_names(name) if len(expected) == len(output_names(name)) else range(len(expected))
    for label, got, want in zip(labels, results, expected, strict=True):
        require_form(label, got, want)


def said(why):
    """A complaint as one line."""
    line = printable(why.message if isinstance(why, Failure) else why)
    return re.sub(r"^(\w+):$", r"\1", line)  # an exception without a message


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


def strays(failure):
    """Whether a failure is that of a C function which left its arrays; `guard` then says where."""
    return failure.message.startswith("Outside: ")


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


def elsewhere(module, name):
    """A judge that lives in another module of this package, which imports this one."""

    def judge_there(task, start, **options):
        return getattr(importlib.import_module(f"tinyllm.teach.{module}"), name)(task, start, **options)

    return judge_there


# How each kind of task is judged: the arguments of `judge` -> Verdict. What is missing here is not checked.
JUDGES = {
    "op": judge,
    "c": elsewhere("kernels", "judge_c"),
    "tests": elsewhere("mutants", "judge_tests"),
    "run": elsewhere("capstone", "judge_run"),
}
