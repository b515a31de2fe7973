"""Check lesson 11: property tests are marked by the mutants they reject and the right code they accept."""

import numpy as np
import pytest

from tinyllm.course import mutants
from tinyllm.course.answer_keys import answers
from tinyllm.course.syllabus import Exercise, find_lesson
from tinyllm.course.workers import Failure
from tinyllm.testing import MISTAKES, VARIANTS

TASKS = find_lesson(11).tasks


@pytest.fixture
def judge_test(judge):
    """Judge a test of softmax, or of another op, by its source."""

    def run(source, op="softmax", **options):
        return judge("import numpy as np\n\n" + source, Exercise(f"test_{op}", op, "tests"), **options)

    return run


def test_good_tests_catch_every_mutant_and_the_stub_is_not_attempted(judge_test):
    """Try those of softmax; `course selftest` tries the others, and bad ones."""
    task = TASKS[0]
    verdict = judge_test(answers(task).reference, task.op)
    assert (verdict.state, verdict.broken, verdict.message) == ("passed", (), "")
    assert len(verdict.held) == len(MISTAKES[task.op]) >= 7 and len(VARIANTS[task.op]) == 2
    stub = (find_lesson(11).path / "exercise.py").read_text()
    assert judge_test(stub, task.op).state == "not_attempted"


@pytest.mark.parametrize("body, state", [
    ("pass", "failed"), ("assert False", "failed"), ("softmax(np.ones(3, np.float32))", "failed"),
    ("softmax(1)", "failed"), ("):", "blocked"),
    ("while True: pass", "timed_out"), ("while True: softmax(np.ones(2, np.float32))", "timed_out"),
    ("softmax(np.ones((60, 60), np.float32))", "failed"),
    ("softmax(np.ones((2000, 2000, 0), np.float32))", "failed"),
    ("softmax(object())", "failed"),
    ("try: softmax('\\x1b[2J\\u2028')\n    finally: assert 0", "failed"),
    ("softmax(*[[[]]] * 9)", "failed"), ("import os; os._exit(0)", "failed"),
])
def test_tests_that_check_nothing_or_are_hostile_get_nothing(judge_test, body, state):
    verdict = judge_test(f"def test_softmax(softmax):\n    {body}\n")
    assert (verdict.state, verdict.held) == (state, ()) and verdict.message
    assert (verdict.smallest_input or "").replace("\n", "").isprintable()


def test_a_test_that_decides_by_chance_does_not_pass(judge_test, monkeypatch):
    """A past hole: a test that called `random() < 0.7` passed once in 80 times."""
    alarm, calls = Failure("failed", "AssertionError", 3), dict[int, int]()

    def run_test(task, start, function):  # right in the first run of each implementation
        calls[id(function)] = calls.get(id(function), 0) + 1
        wrong = any(function is mutant for _, mutant in MISTAKES[task.op])
        return (alarm if wrong or calls[id(function)] == 3 else None), None

    monkeypatch.setattr(mutants, "run_test", run_test)
    verdict = judge_test("def test_softmax(f): pass\n")
    assert (verdict.state, verdict.held, verdict.line) == ("failed", (), 3)
    assert "not steady: it accepts a correct implementation in one run" in verdict.message


def test_a_test_may_call_often_and_the_limit_that_it_meets_is_named(tmp_path, launcher):
    """Two thousand calls once took longer than a student's test may."""
    task, code = Exercise("test_bpe_merge", "bpe_merge", "tests"), tmp_path / "exercise.py"
    code.write_text("def test_bpe_merge(f):\n    for n in range(2000): f([n, 1, 2, 3], (n, 1), 300)\n")
    verdict = mutants.judge(task, lambda: launcher.start(code, {"call_seconds": 0.75}))
    assert "misses 11 of 11 buggy versions" in verdict.message
    for seconds, limit, words in ((1, 0, "0 times: test fewer"), (1e-9, 9, "1e-09 seconds")):
        with launcher.start(code, {"call_seconds": seconds}) as worker:
            said = worker.call_with("test_bpe_merge", {"f": lambda *_: {"value": [0]}}, limit=limit)
            assert words in said.message


def test_the_innocent_are_defended_and_the_input_is_named(judge_test):
    exact = """
def test_softmax(softmax):
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    assert np.array_equal(softmax(x), e / e.sum(axis=-1, keepdims=True))
"""
    verdict = judge_test(exact)
    assert verdict.state == "failed" and "it rejects" in verdict.message
    assert "np.float32([[" in verdict.smallest_input and verdict.line == 7
    assert "`assert np.array_equal(softmax(x), e / e.sum(axis=-1, keepdims=True))`" in verdict.message
    assert "\n  # a right softmax returns np.float32([[0.0" in verdict.smallest_input
    accused = int(verdict.message.split()[2])
    assert 0 < accused <= len(VARIANTS["softmax"])
    assert 0 < len(verdict.held) < 4  # of at least 4 that it catches


def test_of_the_survivors_one_is_named_before_the_pass(judge_test):
    few = "def test_softmax(softmax):\n    assert softmax(np.ones((2, 3), np.float32)).dtype == np.float32\n"
    verdict = judge_test(few)
    sentences = [sentence for sentence, _ in MISTAKES["softmax"]]
    living = [s for s in sentences if not any(s in title for title in verdict.held)]
    assert verdict.state == "failed" and "buggy versions" in verdict.message and len(living) > 3
    assert [s for s in living if s in verdict.message] == living[:1] and "assert?" not in verdict.message
    assert not any(s in text for s in living for text in verdict.broken)
    verdict = judge_test("def test_softmax(softmax):\n    softmax(np.ones(3, np.float32)) == 1\n")
    assert "does it assert?" in verdict.message and sentences[0] in verdict.message
    most = answers(TASKS[0]).reference.replace(", [-math.inf] * 3", "")
    verdict = judge_test(most)
    assert verdict.state == "passed" and "lives: softmax that gives NaN" in verdict.message


def test_a_function_that_changes_its_input_is_seen_to_do_so(judge_test):
    source = """
def test_bpe_merge(bpe_merge):
    ids = [1, 2, 3]
    bpe_merge(ids, (1, 2), 9)
    assert ids == [1, 2, 3]
"""
    (title,) = judge_test(source, "bpe_merge").held
    assert title.endswith("done inside the list that was given")


ROW, ONE = np.zeros((1, 2000, 1, 1), np.float32), np.zeros((1, 1, 1, 1), np.float32)


@pytest.mark.parametrize("op, args", [
    ("attention", [ROW[:, :1000], ROW[0, :400, None], ONE, False]), ("attention", [ROW, ROW, ROW]),
    ("attention", [ROW, ONE, ONE, True, np.zeros(600, np.int64)]),
    ("attention", [ONE, ONE, ONE, True, np.array([600_000_000])]),
    ("bpe_merge", [[0] * 1999, (0, 0), [0.0] * 1998]),
], ids=["broadcast", "four million scores", "600 lengths", "a length without end", "a token that is a list"])
def test_what_the_op_would_refuse_or_is_too_much_reaches_no_implementation(op, args):
    reached = []
    assert "raised" in mutants.Bench(op, lambda *args: reached.append(args)).answer(args, {})
    assert not reached
    assert mutants.size(np.zeros((2000, 2000, 0))) == 4_000_000  # an empty axis counts
    assert mutants.size([[1, 2], [3]]) == 3 and mutants.size("a" * 9) == 9


@pytest.mark.parametrize("ask", [
    {"ask": ["softmax"], "args": [], "kwargs": {}}, {"ask": "softmax", "args": 3, "kwargs": {}},
    {"ask": "matmul", "args": [], "kwargs": {}}, {"ask": "softmax", "args": [], "kwargs": {1: 2}},
])
def test_a_forged_question_ends_the_talk(judge_test, ask):
    forge = f"""
import gc, socket, sys
def test_softmax(softmax):
    talk = next(o for o in gc.get_objects() if isinstance(o, socket.socket))
    sys.modules["_tinyllm_protocol"].send(talk, {ask!r})
    softmax(np.ones(2, np.float32))
"""
    verdict = judge_test(forge)
    assert verdict.state == "failed" and verdict.held == ()


def test_no_two_gradings_run_the_implementations_in_one_order(monkeypatch):
    """A fixed order could be learnt from the feedback on many submissions.

    The first run was once always of a right implementation: a test could store its results for later runs.
    """
    ran: list = []
    monkeypatch.setattr(mutants, "run_test", lambda *args: (None, ran.append(args[2])))
    functions = [(str(i), lambda x, i=i: i) for i in range(12)]
    for _ in range(12):
        mutants.run_all(TASKS[0], None, [abs], functions)
    orders = [ran[i : i + 13] for i in range(0, len(ran), 13)]
    assert len({*map(tuple, orders)}) == 12 and len({*map(frozenset, orders)}) == 1
    assert len({order[0] for order in orders}) > 1
