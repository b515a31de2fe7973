"""Check the checker: right solutions pass, and everything else gets the right state in time."""

import contextlib
import tracemalloc

import numpy as np
import pytest
from judged import TASKS, Ours

from tinyllm.course import checker, failures, workers
from tinyllm.course.checker import CALL_SECONDS, PATIENCE, judge_lesson
from tinyllm.course.classroom.selftest import Here
from tinyllm.course.drawing import MOST_FLOPS, properties
from tinyllm.course.matching import alike
from tinyllm.course.naming import READABLE, name_mistake
from tinyllm.course.reference_solution import solved, source
from tinyllm.course.syllabus import Exercise, find_lesson
from tinyllm.course.workers import Failure
from tinyllm.ops import OPS
from tinyllm.testing import VARIANTS
from tinyllm.testing.properties import FORM, ORDINARY, PURE, SIMPLE, STEADY
from tinyllm.testing.relations import bind

SOFTMAX = Exercise("softmax", "softmax")


@pytest.mark.parametrize("op, wrong, most", [
    ("attention", lambda q, k, v, causal=True, lengths=None: (q, q[..., 0]), READABLE),
    ("softmax", lambda x: x, 60),
    ("place", lambda x, vectors, at: x * 0, 400),  # a shorter case must be searched for
])
def test_a_failure_is_explained_on_an_input_that_can_be_read(op, wrong, most, monkeypatch):
    """Cases of attention are long, so a smaller one must be found."""
    monkeypatch.setattr("tinyllm.course.naming.every_edit", lambda *args: [])  # the listed mistakes only
    assert len(checker.judge(TASKS[op], lambda: Ours(op, wrong), count=20).smallest_input) < most


def test_a_result_of_the_wrong_form_gets_no_step_and_warns_nobody(judge, recwarn):
    """Trying known mistakes once printed NumPy's warnings to the student, such as "mean of empty slice"."""
    verdict = judge("def cross_entropy(*args):\n    return 1.0", TASKS["cross_entropy"])
    assert verdict.message == "it should return 2 results, not 1" and verdict.step is None
    assert verdict.broken[0] == FORM
    args = (np.zeros((0, 3), np.float32), np.zeros(0, np.int64), -100)
    name_mistake("cross_entropy", [(args, [np.float32(0), np.zeros(0, np.float32)])])
    assert not list(recwarn)


@pytest.mark.parametrize("text, state, words", [
    ("", "not_attempted", "no function softmax"),
    ("def softmax(x):\n    raise NotImplementedError", "not_attempted", ""),
    ("softmax = 3", "not_attempted", "no function softmax"),
    ("def softmax(x):\n    return x[", "blocked", "SyntaxError"),
    ("import torch", "blocked", "torch"),
    ("raise ValueError('import')", "blocked", "import"),
    ("def softmax(x, y):\n    return x", "failed", "missing 1 required positional argument"),
])
def test_four_words_that_differ(judge, text, state, words):
    verdict = judge(text)
    assert verdict.state == state and words in verdict.message
    assert not verdict.held or state == "failed"
    assert len(verdict.held) + len(verdict.broken) == len(properties("softmax"))


class Waiting(contextlib.nullcontext):
    """Pretend to run calls, each of which takes `seconds`; without a `result`, each call is timed out."""

    def __init__(self, result=None, seconds=CALL_SECONDS):
        super().__init__(self)
        self.clock, self.result, self.seconds, self.output = 0.0, result, seconds, b""

    def used(self):
        return self.clock

    def start(self, code, limits):
        assert limits["call_seconds"] == CALL_SECONDS
        self.failure = None
        return self

    def call(self, *args, **named):
        self.clock += 0 if self.failure else self.seconds
        if self.result is None:
            self.failure = Failure("timed_out", "it ran for more than a while")
        return self.failure or self.result

    call_with = steps = call


@pytest.mark.parametrize("tasks, result, seconds, state, most", [
    ([TASKS[op] for op in ("add", "entropy", "softmax")], None, CALL_SECONDS, "timed_out", 3 * CALL_SECONDS),
    (find_lesson(11).tasks, None, CALL_SECONDS, "timed_out", 6 * CALL_SECONDS),
    ([SOFTMAX], np.float32(7), 0.4, "failed", PATIENCE / 2 + 1),
], ids=["endless functions", "endless tests", "wrong and slow"])
def test_time_is_not_wasted(tmp_path, tasks, result, seconds, state, most):
    """Call an endless function only once: three of them once took 4 seconds each, and then a search.

    A wrong, slow function is tried on few cases: each call ends in time, but there are over a hundred.
    """
    (tmp_path / "exercise.py").touch()
    launcher = Waiting(result, seconds)
    verdicts = judge_lesson(tasks, launcher, tmp_path / "exercise.py", soon=True)
    assert {verdict.state for verdict, _ in verdicts} == {state}
    assert launcher.clock <= most


SLOW = """
import time
fast = softmax
def softmax(x):
    end = time.process_time() + 0.5
    while time.process_time() < end: pass
    return fast(x)
"""


@pytest.mark.signals
def test_an_endless_loop_is_told_at_once_and_a_slow_function_is_right(launcher, tmp_path):
    """The limit is on each call: a worker once had 3 seconds for all cases of a property together."""
    code, (title, cases) = tmp_path / "exercise.py", next(iter(properties("softmax").items()))

    def check(text):
        code.write_text(text, "utf-8")
        tasks, every = find_lesson(4).tasks, {title: cases[:5]}
        found = [verdict for verdict, _ in judge_lesson(tasks, launcher, code, soon=True, every=every)]
        return found[0].message, [verdict.state for verdict in found]

    loop = "    while True:\n        try: pass\n        except BaseException: pass\n"
    for text, others in ((f"def softmax(x):\n{loop}", "not_attempted"), (f"if True:\n{loop}", "timed_out")):
        message, states = check(text)
        assert "more than 0.75 seconds of processor time" in message
        assert states == ["timed_out", *4 * [others]]
    assert check(solved(SOFTMAX) + SLOW)[1][0] == "passed"


def test_a_function_that_ends_on_ordinary_numbers_only_is_waited_for_once(judge, monkeypatch):
    """Wait for the time limit once: later properties and the search for a small input once waited again.

    No case is too large for a right function in plain Python; one of attention had 132 million operations.
    """
    cases = [bind("attention", args) for some in properties("attention").values() for args in some]
    assert max(OPS["attention"].flops(args, None) for args in cases) <= MOST_FLOPS
    ends: list = []
    too_long = workers.too_long
    monkeypatch.setattr(workers, "too_long", lambda *args, **of: ends.append(args) or too_long(*args, **of))
    verdict = judge("""
import numpy as np
def softmax(x):
    while x.size == 0 or np.isinf(x).any(): pass
    return x
""")
    assert verdict.state == "failed" and verdict.mistake and verdict.smallest_input
    assert len(ends) == 1


def test_the_first_answer_does_not_wait_for_other_cases(judge, monkeypatch):
    calls, said = [], []

    def counted(*args):
        calls.append(args)
        return failures.complaint(*args)

    monkeypatch.setattr("tinyllm.course.checker.complaint", counted)
    judge("def softmax(x):\n    return x", first=lambda *words: said.append((*words, len(calls))))
    (task, message, seen), = said
    assert task == "softmax" and "should be" in message and seen < 3 < len(calls)


@pytest.mark.parametrize("text, broken, words", [
    ("def softmax(x):\n    if x.size > 20: raise KeyError('plant')\n    return right(x)", ORDINARY, "plant"),
    ("def softmax(x):\n    y = right(x)\n    if x.flags.writeable: x += 1\n    return y", PURE, ""),
    ("def softmax(x, calls=[]):\n    calls.append(1)\n"
     "    return right(x) * np.float32(1 + 1e-7 * (len(calls) % 2))", STEADY, ""),
    ("room = np.empty(100_000, np.float32)\ndef softmax(x):\n    y = room[: x.size].reshape(x.shape)\n"
     "    y[...] = right(x)\n    return y", ORDINARY, "its result of the call before has changed"),
])
def test_a_right_function_with_a_planted_fault_fails(judge, text, broken, words):
    """Plant faults: the function raises, writes into x, varies its result, or reuses its memory."""
    right = solved(SOFTMAX)
    assert judge(right, explain=False).state == "passed"
    verdict = judge(f"{right}\nright = softmax\n{text}", explain=False)
    assert verdict.state == "failed" and broken in verdict.broken and words in verdict.message


def test_what_a_function_writes_or_lacks_is_said_with_its_line_or_the_near_name(judge):
    right = solved(SOFTMAX)
    verdict = judge(f"{right}\nright = softmax\ndef softmax(x):\n    y = right(x)\n    x += 1\n    return y")
    assert verdict.broken[0] == PURE and verdict.line == right.count("\n") + 5, verdict.message
    assert verdict.mistake is verdict.step is None
    assert "there is Soft_Max: is it meant?" in judge("def Soft_Max(x):\n    return x").message
    adamw = Exercise("adamw_step", "adamw_step")
    verdict = judge(solved(adamw).replace("(np.sqrt(v_hat) + eps)", "(np.sqrt(v_hat) + eps)\n    return w"),
                    adamw, explain=False)
    assert verdict.message == "it works in place and should return nothing, got ndarray"
    verdict = judge("import numpy as np\ndef softmax(x):\n    return np.float64(-x)")
    assert verdict.message.endswith("its numbers are wrong, too")


def test_the_first_step_of_attention_scores():
    """The three steps that the lesson advises once scored 0, 0 and all."""
    right = OPS["attention"].reference

    def first(q, k, v, causal=True, lengths=None):
        return right(q, np.broadcast_to(k, (*k.shape[:2], q.shape[2], k.shape[3])), v, causal)

    verdict = checker.judge(TASKS["attention"], lambda: Ours("attention", first), count=20, explain=False)
    assert verdict.held == (SIMPLE,)


@pytest.mark.parametrize("shapes, words", [
    ("(3,2) (3,)", "keepdims=True keeps it"), ("(3,2,3,4) (3,2,4)", "; [..., None, :] adds it"),
    ("(3,2) (4,5)", None), ("(2,3) (7,)", None),
])
def test_the_cause_of_shapes_that_do_not_fit_is_told(shapes, words):
    message = f"ValueError: operands could not be broadcast together with shapes {shapes}"
    said = failures.format_failure(Failure("failed", message))
    assert words in said if words else said == message


PADDED = ["x" * 100_000] + ["y"] * 1000  # in a NumPy array, each would take the memory of the longest


def test_an_answer_takes_no_more_memory_than_it_has():
    title, case = "correct results on ordinary numbers", (0, 10, 0.1, 1, 0.1)
    tracemalloc.start()
    worker = Here("lr_schedule", lambda *_: [PADDED])
    assert failures.complaint("lr_schedule", title, worker, "lr_schedule", case)
    assert not alike([PADDED], [np.zeros(3)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**23


def test_every_variant_has_a_text():
    """A parameter `logits` was once taken for a global of the same name, a Hypothesis strategy."""
    for function in (function for op in TASKS for function in VARIANTS.get(op, ())):
        assert f"def {function.__name__}(" in source([function])
