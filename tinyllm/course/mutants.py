"""Judge a student's property test by the wrong implementations that it catches.

`def test_softmax(softmax)` gets an implementation and asserts what must be true of it. The test is run on all
right implementations that the library has (the specification and its variants) and on every known mistake.
Each run has a fresh worker. The implementation runs in this process: the test gets a function that only sends
its arguments here, so a test cannot read the code of an implementation.

The mark is the share of mutants rejected minus the share of right implementations rejected (Youden, "Index
for rating diagnostic tests", 1950). `assert False` rejects everything, `pass` nothing; both get 0.
"""

import copy
import functools
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyllm.course.checker import Verdict, format_failure, unanswered, unusable
from tinyllm.course.syllabus import Exercise
from tinyllm.course.workers import Failure, printable
from tinyllm.ops import OPS
from tinyllm.testing import MISTAKES, VARIANTS
from tinyllm.testing.check import as_text, bits, describe
from tinyllm.testing.relations import parameters, specs_only

ENOUGH = 0.75  # a test passes if it rejects this share of the mutants; only then are all survivors named
LARGEST = 2000  # numbers in one argument at most, so that an answer takes little time and memory
MORE_RUNS = 2  # of each right implementation if a test is about to pass: it may have decided by chance
GIVE_UP = 2  # after this many runs without a judgement, for example because they take too long
MOST = 2**18  # the largest product of the sizes of two arguments, which bounds the scores of attention


class Bench:
    """An implementation under test. It answers calls, and stores the last call."""

    def __init__(self, op, function):
        self.op, self.function = op, function
        self.last: str | None = None
        self.calls = 0

    def answer(self, args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Call the implementation, and return the reply for `fork_server.remote`."""
        self.calls += 1
        try:
            bound = OPS[self.op].__signature__.bind(*args, **kwargs)
            bound.apply_defaults()
            args = list(bound.arguments.values())
            if any(size(value) > LARGEST for value in args):
                return {"raised": f"ValueError: an argument has more than {LARGEST:,} numbers: test small"}
            if math.prod(sorted(map(size, args))[-2:]) > MOST:
                return {"raised": "ValueError: two arguments are too large for each other: test small"}
            before = [bits(value) for value in args]
            self.last = describe(self.op, args)
            with specs_only(), np.errstate(all="ignore"):
                OPS[self.op].checked("numpy")(*copy.deepcopy(args))  # raises if the arguments are wrong
                value = self.function(*args)
            self.last += f"\n  # a right {self.op} returns {as_text(value)}"
        except Exception as error:
            return {"raised": printable(f"{type(error).__name__}: {error}")}
        changed = [at for at, old in enumerate(before) if bits(args[at]) != old]
        return {"value": value, "changed": [(at, args[at]) for at in changed]}


def size(value: Any) -> int:
    """Count the numbers in an argument, to limit the cost of a call; an empty axis counts as 1."""
    if isinstance(value, np.ndarray):
        return math.prod(max(n, 1) for n in value.shape)
    return len(value) if isinstance(value, str | bytes) else 1 + repr(value).count(",")


def cases(task: Exercise) -> dict[str, Callable[..., Any]]:
    """Return the wrong implementations that a property test should reject -> {property: function}."""
    return {f"correct about mutant {i}": function for i, (_, function) in enumerate(MISTAKES[task.op], 1)}


def judge(task: Exercise, start: Callable[[], Any], **options: Any) -> Verdict:
    """Check a property test. The arguments are as in `checker.judge`."""
    mutants, correct = MISTAKES[task.op], [OPS[task.op].reference, *VARIANTS.get(task.op, [])]
    unknown = tuple(cases(task))
    with start() as worker:
        if worker.failure:  # a file that does not run rejects no implementation
            return unusable(task, worker.failure, unknown)
    with specs_only():  # entered once, because that takes longer than most calls
        runs = run_all(task, start, correct, mutants)
    alarms = [(failure, last) for failure, last in runs[: len(correct)] if failure]
    for failure, _ in alarms:
        if unanswered(failure):
            return Verdict(task.name, failure.state, (), unknown, failure.message, failure.line)
    caught = [i for i, (failure, _) in enumerate(runs[len(correct) :]) if failure and not unanswered(failure)]
    if len(alarms) == len(correct):  # it rejects every right one, so rejecting mutants means nothing
        caught = []
    share = len(caught) / len(mutants) - len(alarms) / len(correct)
    counted = caught[: max(math.floor(share * len(mutants) + 1e-9), 0)]
    held = tuple(f"{unknown[i]}: {mutants[i][0]}" for i in counted)
    rest = [i for i in range(len(mutants)) if i not in counted]
    failed = functools.partial(Verdict, task.name, "failed", held, tuple(unknown[i] for i in rest))
    if alarms:
        why, last = alarms[0]
        message = f"it rejects {len(alarms)} of {len(correct)} correct implementations: {format_failure(why)}"
        return failed(message, why.line, smallest_input=last)
    if len(caught) < ENOUGH * len(mutants):
        # Only one survivor is named, because finding the others is the exercise.
        silent = "nothing ever makes it fail: does it assert? " * (len(rest) == len(mutants))
        least = math.ceil(ENOUGH * len(mutants))
        return failed(f"it misses {len(rest)} of {len(mutants)} buggy versions; it must catch at least "
                      f"{least}; {silent}one that it accepts: {mutants[rest[0]][0]}")
    again = run_all(task, start, correct * MORE_RUNS, [])
    if rejected := [failure for failure, _ in again if failure and not unanswered(failure)]:
        message = ("it is not steady: it accepts a correct implementation in one run and rejects it in "
                   f"another: {format_failure(rejected[0])}; draw with a fixed seed")
        return Verdict(task.name, "failed", (), unknown, message, rejected[0].line)
    broken = tuple(f"{unknown[i]}: {mutants[i][0]}" for i in rest)
    return Verdict(task.name, "passed", held, broken, "\n".join(f"lives: {mutants[i][0]}" for i in rest))


def run_all(task: Exercise, start: Callable[[], Any], correct: list[Callable[..., Any]], mutants: list[tuple],
            ) -> list[tuple[Failure | None, str | None]]:
    """Run a test on every implementation; return the results of `run_test`, right implementations first.

    The order of the runs is random. Workers are fresh, but clocks, process numbers and access times of files
    continue, so a test can count its runs. With a fixed order, the feedback on many submissions would tell
    which implementations are mutants; and if the first one were always right, a test could remember its
    results. A test that gives no judgement GIVE_UP times is not run any further.
    """
    functions = [*correct, *(function for _, function in mutants)]
    order = list(range(len(functions)))
    random.SystemRandom().shuffle(order)
    runs: dict[int, tuple] = {}
    for i in order:
        runs[i] = run_test(task, start, functions[i])
        if sum(unanswered(failure) for failure, _ in runs.values()) == GIVE_UP:
            return [runs[i]] * len(functions)
    return [runs[i] for i in range(len(functions))]


def run_test(task: Exercise, start: Callable[[], Any],
             function: Callable[..., Any]) -> tuple[Failure | None, str | None]:
    """Run the student's test on an implementation; return (Failure or None, the last call of it)."""
    bench = Bench(task.op, function)
    with start() as worker:
        result = worker.call_with(task.name, {task.op: bench.answer})
    if not isinstance(result, Failure):
        never = f"it never calls {task.op}({', '.join(parameters(task.op))})"
        result = None if bench.calls else Failure("failed", never)
    return result, bench.last
