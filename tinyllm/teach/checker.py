"""The checker: the library's own cases and properties, tried on a function that runs in another process.

A task is judged by its op. The op's cases are sorted into properties (ordinary numbers, extreme ones, empty
arrays, views...), each property gets a fresh worker, and what holds is counted. For what does not, Hypothesis
looks for the smallest input, and the known mistakes are run on it: if one gives the student's numbers, it is
named. If none does, the first step of the specification that no variable of theirs holds is.
"""

import functools
import math
import sys
import time
from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, Phase, find, given, seed, settings

from tinyllm.ops import OPS
from tinyllm.teach.workers import Failure
from tinyllm.testing import CASES, MISTAKES
from tinyllm.testing.check import arrays, bits, describe, require_expected, require_form, run, widen
from tinyllm.testing.mistake import outcome, same
from tinyllm.testing.relations import bind, output_names, parameters, specs_only

CASES_PER_TASK = 60
SHRINK_EXAMPLES = 300
SHRINK_SECONDS = 5
QUIET = {"database": None, "deadline": None, "suppress_health_check": list(HealthCheck)}


@dataclass(frozen=True)
class Verdict:
    """What is known of one task. state: passed, failed, not_attempted, timed_out or blocked."""

    task: str
    state: str
    held: tuple[str, ...] = ()  # names of the properties that hold
    broken: tuple[str, ...] = ()  # and of those that do not
    message: str = ""
    line: int | None = None
    mistake: str | None = None
    step: str | None = None  # the first step that differs, where no known mistake explains it
    smallest_input: str | None = None


@functools.cache
def draw_cases(name, count=CASES_PER_TASK, variant=0):
    """The first cases of an op that Hypothesis draws from a seed -> list of argument tuples."""
    drawn = []

    @settings(max_examples=count, phases=[Phase.generate], **QUIET)
    @seed(variant)
    @given(args=CASES[name])
    def draw(args):
        drawn.append(tuple(bind(name, args).values()))

    draw()
    return drawn


def nature(args):
    """Which property a case belongs to: what is special about it, the most special thing first."""
    given_arrays = list(arrays(args))
    numbers = [a for a in given_arrays if a.dtype.kind == "f"]
    if any(np.isinf(a).any() for a in numbers):
        return "right where scores are -inf"
    small = any(a.size == 0 or a.shape[-1:] == (1,) for a in given_arrays)
    if small or any(x in ([], b"", {}) for x in plain(args)):
        return "right on what is empty or has one element"
    sizes = [np.abs(a).max() for a in numbers if a.size]
    if any(size > 100 or 0 < size < 0.01 for size in sizes):
        return "right on huge and tiny numbers"
    if any(not a.flags.c_contiguous for a in given_arrays):
        return "right on views with other strides"
    return "right on ordinary numbers" if numbers else "right on ordinary input"


def plain(args):
    """The arguments that are Python values."""
    return [x for x in args if not isinstance(x, np.ndarray | np.generic)]


FORM = "results have the right types and shapes"
PURE = "inputs are left as they were"
WRITES = "it writes into an input, which belongs to the caller; work on a copy"
STEADY = "the same input gives the same result twice"


def properties(name, count=CASES_PER_TASK, variant=0):
    """The properties of an op and the cases that try them -> {property: list of argument tuples}."""
    cases = draw_cases(name, count, variant)
    found = {FORM: cases[:20]}
    for args in cases:
        found.setdefault(nature(args), []).append(args)
    if not OPS[name].mutates:
        found[PURE] = cases[:20]
    return found | {STEADY: cases[:5]}


def judge_task(task, start, folder, **options):
    """Check one task of any kind -> Verdict. folder: where the student's files are; options as in `judge`."""
    return JUDGES[task.kind](task, start, folder=folder, **options)


def judge(task, start, count=CASES_PER_TASK, variant=0, explain=True, folder=None):
    """Check one op -> Verdict. start: a function that gives a fresh worker with the student's exercise.py."""
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
            return verdict(state=why.state, message=why.message, line=why.line)
        if not explain:
            return verdict(state="failed", message=said(why), line=getattr(why, "line", None))
        return explained(task, start, broken, verdict)


def unusable(task, failure, every):
    """The verdict on a function whose file cannot be imported."""
    return Verdict(task.name, failure.state, broken=tuple(every), message=failure.message, line=failure.line)


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
            require_expected(name, results, args)
    except AssertionError as error:
        return str(error)
    return None


def results_of(name, value, after):
    """The list of an op's results: what it returned, or the arguments that it changed in place."""
    if OPS[name].mutates:
        places = [parameters(name).index(argument) for argument in OPS[name].mutates]
        return [after[i] for i in places] if isinstance(after, list) and len(after) > max(places) else []
    return list(value) if isinstance(value, tuple | list) else [value]


def require_forms(name, results, args):
    """Types and shapes alone. Raises AssertionError."""
    expected = run(name, OPS[name].reference, [widen(value) for value in args])
    if len(results) != len(expected):
        raise AssertionError(f"it should return {len(expected)} results, not {len(results)}")
    labels = output_names(name) if len(expected) == len(output_names(name)) else range(len(expected))
    for label, got, want in zip(labels, results, expected, strict=True):
        require_form(label, got, want)


def said(why):
    """A complaint as one line."""
    return why.message if isinstance(why, Failure) else why


def explained(task, start, broken, verdict):
    """Find the smallest input that fails, and what the student did there."""
    title, wrong = next(iter(broken.items()))
    with Tries(task, start, title) as tries:
        smallest = tries.smallest(wrong[0][0])
        why = tries.complaint(smallest) or wrong[0][1]
        failing = [args for cases in broken.values() for args, _ in cases][:12]
        outputs = [(args, tries.output(args)) for args in [smallest, *failing]]
        sentence = name_mistake(task.op, outputs)
        step = None if sentence else tries.first_different_step(smallest)
    return verdict(
        state="failed", message=said(why), line=getattr(why, "line", None), mistake=sentence, step=step,
        smallest_input=describe(task.op, smallest),
    )  # fmt: skip


def name_mistake(name, outputs):
    """The known mistake that explains the first output, and the most of the others."""
    known = [(args, out) for args, out in outputs if out is not None]
    if not known or outputs[0][1] is None:
        return None
    scores = []
    for sentence, function in MISTAKES.get(name, ()):
        matches = [same(out, outcome(name, function, args)) for args, out in known]
        scores.append((sum(matches) if matches[0] else 0, sentence))
    best = max(scores, key=lambda score: score[0], default=(0, None))
    return best[1] if best[0] else None


class Tries:
    """A worker that is replaced when it falls, to try many inputs on a function that fails."""

    def __init__(self, task, start, title):
        self.task, self.start, self.title = task, start, title
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
        """The results on an input, or None where there are none."""
        answer = self.fresh().call(self.task.name, args, send_args=True)
        return None if isinstance(answer, Failure) else results_of(self.task.op, *answer)

    def smallest(self, args):
        """The smallest input with this complaint that Hypothesis finds; otherwise the one given."""
        name = self.task.op

        def fails(drawn):
            if time.monotonic() > self.deadline:
                return False
            return self.complaint(tuple(bind(name, drawn).values())) is not None

        try:
            found = find(CASES[name], fails, settings=settings(max_examples=SHRINK_EXAMPLES, **QUIET))
        except Exception:  # NoSuchExample, or Flaky where the time was up
            return args
        return tuple(bind(name, found).values())

    def first_different_step(self, args):
        """Which variable of the specification none of the student's equals; None if that cannot be said."""
        name = self.task.op
        answer = self.fresh().steps(self.task.name, args)
        if isinstance(answer, Failure):
            return None
        theirs = [value for _, value in answer]
        for step, value in steps_of(OPS[name].reference, args):
            if step in parameters(name) or not isinstance(value, np.ndarray):
                continue
            if not any(same([other], [value]) for other in theirs):
                return step
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


# How each kind of task is judged: the arguments of `judge` -> Verdict. A kind that is missing cannot be checked.
JUDGES = {"op": judge}
