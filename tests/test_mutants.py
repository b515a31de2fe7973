"""Lesson 11's checker: property tests, marked by the mutants they catch and the innocents they spare."""

import os

import numpy as np
import pytest

from tinyllm.teach import mutants
from tinyllm.teach.checker import judge_task
from tinyllm.teach.syllabus import Task, find_lesson
from tinyllm.testing import MISTAKES

SOLUTION = '''
import numpy as np


def test_softmax(softmax):
    rng = np.random.default_rng(0)
    for shape in ((3, 5), (7,), (2, 3, 4), (4, 1)):
        x = rng.standard_normal(shape).astype(np.float32)
        y = softmax(x)
        assert y.shape == x.shape and y.dtype == np.float32
        assert np.all(y >= 0) and np.allclose(y.sum(axis=-1), 1, atol=1e-5)
        assert np.allclose(softmax(x + np.float32(1000)), y, atol=1e-3)
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        assert np.allclose(y / y.max(axis=-1, keepdims=True), e, atol=1e-5)
    assert np.allclose(softmax(np.array([[0.0, 1.0], [-500, -500]], np.float32))[1], 0.5)
    assert np.all(softmax(np.full((2, 3), -np.inf, np.float32)) == 0)


def test_attention(attention):
    rng = np.random.default_rng(0)
    for S, T, H, K, D in ((3, 3, 1, 1, 2), (3, 5, 4, 2, 3), (1, 4, 2, 2, 4)):
        shapes = (2, S, H, D), (2, T, K, D), (2, T, K, D)
        q, k, v = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
        for causal in (True, False):
            for lengths in (None, np.array([T - 1, T]), np.array([1, 0])):
                y, lse = attention(q, k, v, causal=causal, lengths=lengths)
                for b, s, h in np.ndindex(2, S, H):
                    n = T if lengths is None else int(lengths[b])
                    seen = max(min(n, n - S + s + 1) if causal else n, 0)
                    scores = k[b, :seen, h // (H // K)] @ q[b, s, h] / D**0.5
                    w = np.exp(scores)
                    want = w @ v[b, :seen, h // (H // K)] / w.sum() if seen else np.zeros(D)
                    assert np.allclose(y[b, s, h], want, atol=1e-4)
                    assert np.allclose(lse[b, h, s], np.log(w.sum()) if seen else -np.inf, atol=1e-4)


def test_bpe_merge(bpe_merge):
    for ids, want in (([5, 5, 5], [9, 5]), ([1, 5, 5, 3, 5, 5], [1, 9, 3, 9]), ([], []), ([5], [5])):
        before = list(ids)
        assert bpe_merge(ids, (5, 5), 9) == want and ids == before
    assert bpe_merge([2, 1, 4], (1, 2), 9) == [2, 1, 4]
    assert bpe_merge([1, 2, 1, 2], (1, 2), 9) == [9, 9]
'''


@pytest.fixture
def judge(zygote, tmp_path):
    """Judge a test of softmax, or of another op, by its source."""

    def judge(source, op="softmax", **options):
        path = tmp_path / "exercise.py"
        path.write_text("import numpy as np\n\n" + source)
        return judge_task(Task(f"test_{op}", op, "tests"), lambda: zygote.start(path), tmp_path, **options)

    return judge


@pytest.mark.parametrize("task", find_lesson(11).tasks, ids=lambda task: task.name)
def test_good_tests_catch_every_mutant_and_the_stub_is_not_attempted(judge, task):
    verdict = judge(SOLUTION, task.op)
    assert (verdict.state, verdict.broken, verdict.message) == ("passed", (), "")
    assert len(verdict.held) == len(MISTAKES[task.op]) >= 7 and len(mutants.rights(task.op)) >= 3
    stub = (find_lesson(11).path / "exercise.py").read_text()
    assert judge(stub, task.op).state == "not_attempted"


def test_pass_and_assert_false_get_nothing(judge):
    for body in ("pass", "assert False", "softmax(np.ones(3, np.float32))", "softmax(1)"):
        verdict = judge(f"def test_softmax(softmax):\n    {body}\n")
        assert (verdict.state, verdict.held) == ("failed", ()), body
        assert verdict.message


def test_the_innocent_are_defended_and_the_input_is_named(judge):
    exact = """
def test_softmax(softmax):
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    assert np.array_equal(softmax(x), e / e.sum(axis=-1, keepdims=True))
"""
    verdict = judge(exact)
    assert verdict.state == "failed" and "it accuses" in verdict.message
    assert "float32 (3, 4)" in verdict.smallest_input and verdict.line == 7
    accused = int(verdict.message.split()[2])
    assert 0 < accused < len(mutants.rights("softmax"))
    assert 0 < len(verdict.held) < 4  # of at least 4 that it catches


COUNTER = """
import os
def test_softmax(softmax):
    softmax(np.ones(2, np.float32))
    here = os.path.dirname(os.path.abspath(__file__))
    new = [name for name in sorted(os.listdir(here)) if name.startswith("unread")]
    new = [name for name in new if os.stat(f"{here}/{name}").st_atime_ns == 10**18]
    open(f"{here}/{new[0]}").read()
    assert len(new) >= %d
"""


@pytest.mark.parametrize("spared", [3, 4, 5, 6])
def test_a_test_that_counts_its_runs_learns_nothing(judge, tmp_path, spared):
    """Fresh workers can count: a file that nobody has read before has another time of access."""
    for i in range(60):
        path = tmp_path / f"unread{i:02}.txt"
        path.write_text("")
        os.utime(path, ns=(10**18, 2 * 10**18))
    verdict = judge(COUNTER % (60 - spared + 1), variant=7)
    assert verdict.state == "failed" and len(verdict.held) < len(MISTAKES["softmax"]) / 2


def test_survivors_are_named_only_after_the_pass(judge):
    few = "def test_softmax(softmax):\n    assert softmax(np.ones((2, 3), np.float32)).dtype == np.float32\n"
    verdict = judge(few)
    sentences = [sentence for sentence, _ in MISTAKES["softmax"]]
    living = [s for s in sentences if not any(s in title for title in verdict.held)]
    assert verdict.state == "failed" and "mutants live" in verdict.message and len(living) > 3
    assert not any(s in text for s in living for text in (*verdict.broken, verdict.message))
    most = SOLUTION.replace("    assert np.all(softmax(np.full((2, 3), -np.inf, np.float32)) == 0)\n", "")
    verdict = judge(most)
    assert verdict.state == "passed" and "lives: softmax that gives NaN" in verdict.message


def test_a_function_that_changes_its_input_is_seen_to_do_so(judge):
    source = """
def test_bpe_merge(bpe_merge):
    ids = [1, 2, 3]
    bpe_merge(ids, (1, 2), 9)
    assert ids == [1, 2, 3]
"""
    (title,) = judge(source, "bpe_merge").held
    assert title.endswith("done inside the list that was given")


@pytest.mark.parametrize("body, state", [
    ("while True: pass", "timed_out"),
    ("while True: softmax(np.ones(2, np.float32))", "timed_out"),
    ("softmax(np.ones((60, 60), np.float32))", "failed"),
    ("softmax(np.ones((2000, 2000, 0), np.float32))", "failed"),
    ("softmax(object())", "failed"),
    ("softmax(*[[[]]] * 9)", "failed"),
    ("import os; os._exit(0)", "failed"),
])  # fmt: skip
def test_hostile_tests_only_hurt_themselves(judge, monkeypatch, body, state):
    monkeypatch.setattr(mutants, "SECONDS", 1)
    verdict = judge(f"def test_softmax(softmax):\n    {body}\n")
    assert verdict.state == state and verdict.held == ()


@pytest.mark.parametrize("ask", [
    {"ask": ["softmax"], "args": [], "kwargs": {}}, {"ask": "softmax", "args": 3, "kwargs": {}},
    {"ask": "matmul", "args": [], "kwargs": {}}, {"ask": "softmax", "args": [], "kwargs": {1: 2}},
])  # fmt: skip
def test_a_forged_question_ends_the_talk(judge, ask):
    forge = f"""
import gc, socket, sys
def test_softmax(softmax):
    talk = next(o for o in gc.get_objects() if isinstance(o, socket.socket))
    sys.modules["_tinyllm_wire"].send(talk, {ask!r})
    softmax(np.ones(2, np.float32))
"""
    verdict = judge(forge)
    assert verdict.state == "failed" and verdict.held == ()


def test_a_text_for_an_argument_is_shown_as_one(judge):
    bad = "\x1b[2J\r# all points\u2028"
    test = f"def test_softmax(softmax):\n    try:\n        softmax({bad!r})\n    finally:\n        assert 0\n"
    shown = judge(test).smallest_input
    assert "# all points" in shown and all(line.isprintable() for line in shown.split("\n"))


def test_the_size_of_an_argument_counts_empty_axes():
    assert mutants.size(np.zeros((2000, 2000, 0))) == 4_000_000
    assert mutants.size([[1, 2], (3,)]) == 6 and mutants.size(10**40) > mutants.LARGEST
