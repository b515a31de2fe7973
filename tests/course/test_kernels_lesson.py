"""Test the checker of lesson 10: C code is compiled, run on arrays between closed pages, and judged."""

import re
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from judged import descendants

from tinyllm.course import kernels
from tinyllm.course.answer_keys import answers, edited, read
from tinyllm.course.checker import judge_lesson
from tinyllm.course.failures import INSIDE
from tinyllm.course.syllabus import find_lesson
from tinyllm.course.workers import Failure, Worker, why_not

pytestmark = pytest.mark.skipif(kernels.find_compiler() is None, reason="needs a C compiler")

GOOD = read(10)["softmax"]["reference"] + read(10)["matmul"]["reference"]
TASKS = SOFTMAX, MATMUL = find_lesson(10).tasks
NAMED = [(task, answer) for task in TASKS for answer in answers(task).wrong
         if answer.sentence in dict(kernels.KNOWN[task.op])]  # `course selftest` tries the others


@pytest.fixture
def judge_c(judge):
    """Judge an exercise on a C source."""
    return lambda task, source, **options: judge(source, task, "exercise.c", **options)


C_LIBRARY = """#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
static void use_it(long n) {
    char *large = malloc(10000000);
    assert(large);
    printf("%ld\\n", n);
    free(large);
}
"""
HEAD = "void softmax(float *y, const float *x, long rows, long n) {"


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_right_kernels_pass_and_the_stub_is_not_attempted(judge_c, task):
    for text in (edited(GOOD, HEAD, f"{C_LIBRARY}{HEAD} use_it(n);"), answers(task).right[1].text):
        verdict = judge_c(task, text)
        assert (verdict.state, verdict.broken) == ("passed", ()) and len(verdict.held) >= 5
    stub = (find_lesson(10).path / "exercise.c").read_text()
    for source in (stub, "", f"/* {task.op}(y, x) {{ y; }} */"):
        assert judge_c(task, source).state == "not_attempted"


@pytest.mark.parametrize("task, answer", NAMED, ids=lambda x: getattr(x, "sentence", None) or x.name)
def test_a_mistake_in_indices_is_named_on_single_matrices(judge_c, task, answer):
    """The input shown is that of the C function: single matrices, neither stacked nor transposed."""
    assert len(NAMED) == sum(map(len, kernels.KNOWN.values()))
    verdict = judge_c(task, answer.text)
    assert answer.breaks in verdict.broken and verdict.mistake == answer.sentence
    matrix = r"np\.(float32\(\[\[[^\[].*|zeros\(\(\d+, \d+\), np.float32\))"
    assert re.fullmatch("\n".join(f"  {name} = {matrix}" for name in kernels.NAMES[task.op][1:]),
                        verdict.smallest_input)


SET_ROW, SET_SUM = "rows; r++) {", "float sum = 0;"  # text in a loop of softmax, and in one of matmul
UNSET = "y is full of NaN before the call"
OVERRUNS = [  # (task, old text, new text, words of the message)
    (SOFTMAX, "i < n; i++)\n            if", "i <= n; i++)\n            if",
     r"touches x\[\d+\], after the end of x, which has \d+ elements"),
    (SOFTMAX, "= in[i];", "= in[i]; largest += 0 * *(volatile float *)(x - 1);",
     r"touches x\[-1\], before the beginning of x"),
    (SOFTMAX, SET_ROW, f"{SET_ROW} y[rows * n] = 0;", r"touches y\[\d+\], after the end of y"),
    (SOFTMAX, SET_ROW, f"{SET_ROW} y[-1] = 0;", r"y\[-1\], before the beginning of y"),
    (SOFTMAX, SET_ROW, f"{SET_ROW} if (n) ((float *)x)[0] = 0;", "writes into x, which is const: element 0"),
    (SOFTMAX, SET_ROW, f"{SET_ROW} if (n == 0) *(const volatile float *)x;", r"x\[0\], after the end of x"),
    (MATMUL, SET_SUM, "float sum = 0 * *(volatile float *)(b + k * n);", "after the end of b"),
    (MATMUL, SET_SUM, f"{SET_SUM} y = 0;", "null pointer"),
    (MATMUL, SET_SUM, f"{SET_SUM} y -= 1L << 30;", "far from its arrays"),
]
CRASHES = [
    (MATMUL, SET_SUM, f"{SET_SUM} if (k == 2) __builtin_trap();", "Illegal|Trace"),
    (MATMUL, SET_SUM, f"{SET_SUM} volatile long zero = 0; if (k == 2) sum = m / zero;", "divides a whole"),
    (SOFTMAX, HEAD, f"#include <assert.h>\n{HEAD} assert(n < 3);", "calls abort"),
    (SOFTMAX, HEAD, f"#include <stdlib.h>\n{HEAD} if (n < 3) abort();", "calls abort"),
    (SOFTMAX, HEAD, f"#include <stdlib.h>\n{HEAD} exit(0);", "called for an exit"),
    (SOFTMAX, HEAD, f"{HEAD} while (n) rows = n;", "endless loop"),
    (SOFTMAX, HEAD, f"__attribute__((constructor)) static void f(void) {{ *(volatile int *)8 = 1; }}\n{HEAD}",
     "the process that ran the file ended: Segmentation fault"),
    (SOFTMAX, "long rows, long n) {", "long rows, long n) { return;", UNSET),
    (SOFTMAX, "i = 0; i < n; i++)\n            sum", "i = 1; i < n; i++)\n            sum", UNSET),
]


@pytest.mark.parametrize("task, before, after, words", OVERRUNS + CRASHES)
def test_the_message_names_the_bad_access_or_the_crash(judge_c, task, before, after, words):
    said = []
    verdict = judge_c(task, edited(GOOD, before, after), first=lambda *words: said.append(words))
    assert verdict.state in ("failed", "timed_out" if "endless" in words else "blocked")
    assert INSIDE in verdict.broken or words is UNSET
    assert re.search(words, verdict.message), verdict.message
    assert verdict.smallest_input or (task, before, after, words) in CRASHES
    assert {name for name, _ in said} <= {task.name}  # it was once the name of the op


REPORT, Y = np.array([0, -1, 0, 9]), np.ones(6, np.float32)
FORGED = [None, [], [REPORT], [REPORT, Y, Y], [REPORT.astype(float), Y], [REPORT, Y.astype(float)],
          [REPORT[:2], Y], [REPORT, Y.tolist()], [REPORT, Y[:5]], {"value": Y}, [[1], [[2], 3]]]


@given(st.integers(), st.integers(), st.integers(-1, 2))
def test_any_report_is_one_line(number, offset, operand):
    said = kernels.fault(number, offset, [("y", 3), ("x", 3)], operand).message
    assert said.isprintable() and len(said) < 200 and "into y" not in said


def test_a_forged_answer_is_a_failure(monkeypatch):
    worker, x = kernels.KernelWorker.__new__(kernels.KernelWorker), np.ones((2, 3), np.float32)
    worker.op = "softmax"
    monkeypatch.setattr(Worker, "call", lambda *args: [REPORT, Y])
    assert worker.call("softmax", (x,)).tolist() == x.tolist()
    for answer in FORGED:
        monkeypatch.setattr(Worker, "call", lambda *args, answer=answer: answer)
        assert isinstance(worker.call("softmax", (x,)), Failure)


@pytest.mark.parametrize("source, words, line", [
    (GOOD + "int x = ;\n", "does not compile", GOOD.count("\n") + 1),
    (GOOD + "int main(void) { return 0; }\n", "does not compile: .*main", None),
    (GOOD + "void dgemm_(void);\nvoid f(void) { dgemm_(); }\n", "does not compile: .*dgemm_", None),
    ('#line 1 "exercise.c:' + "9" * 4400 + '"\n#error here\n' + GOOD, "does not compile", None),
    ('#include "/etc/passwd"\n' + GOOD, "does not compile", 1),
    ('#include "exercise.c"\n' + GOOD, "does not compile", None),
], ids=range(6))
def test_c_that_does_not_compile_is_one_line(judge_c, source, words, line):
    verdict = judge_c(SOFTMAX, source)
    assert verdict.state == "failed" and re.search(words, verdict.message), verdict
    assert verdict.message.isprintable() and len(verdict.message) <= 400 and "root" not in verdict.message
    assert line is None or verdict.line == line


@pytest.mark.skipif(bool(why_not("landlock")), reason=f"landlock: {why_not('landlock')}")
def test_a_compiler_behind_fences_compiles_and_sees_no_secret(tmp_path):
    secret, work, path = tmp_path / "secret.h", tmp_path / "work", tmp_path / "exercise.c"
    secret.write_text("the answer is 42\n")
    work.mkdir()
    path.write_text(GOOD)
    assert kernels.build(path, "softmax", work, "landlock") == work / "program"
    path.write_text(f'#include "{secret}"\n' + GOOD)
    failure = kernels.build(path, "softmax", work, "landlock")
    assert "Permission denied" in failure.message and "answer" not in failure.message


def test_a_grader_that_has_to_end_leaves_no_compiler_behind(tmp_path, monkeypatch):
    def interrupted(process, timeout):
        monkeypatch.undo()
        raise SystemExit(1)  # as SIGTERM does

    (tmp_path / "exercise.c").write_text(GOOD)
    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    before = descendants()
    with pytest.raises(SystemExit):
        kernels.build(tmp_path / "exercise.c", "softmax", tmp_path, "plain")
    assert descendants() == before


def test_comments_without_an_end_take_no_time():
    began = time.process_time()
    for source in ("/* " * 80_000, "softmax()" * 28_000):
        assert not kernels.has_body(source, "softmax")
    assert time.process_time() - began < 2


def test_no_file_no_compiler_and_a_file_in_python_beside_it(judge, judge_c, launcher, tmp_path, monkeypatch):
    (tmp_path / "exercise.py").write_text("raise SystemExit\n")
    verdicts = judge_lesson(TASKS, launcher, tmp_path / "exercise.py")
    assert {verdict.state for verdict, _ in verdicts} == {"not_attempted"}
    monkeypatch.setattr(kernels, "find_compiler", lambda: None)
    verdict = judge_c(SOFTMAX, GOOD)
    assert verdict.state == "not_graded" and "install one" in verdict.message


def test_the_speed_of_the_students_kernel_is_measured(tmp_path):
    Path(tmp_path, "exercise.c").write_text(GOOD)
    assert 0 < kernels.measure("matmul", tmp_path) < 1000
    Path(tmp_path, "exercise.c").write_text(GOOD.replace("float sum = 0;", "float sum = 0; y = 0;"))
    assert "null pointer" in kernels.measure("matmul", tmp_path)
    assert "still empty" in kernels.measure("matmul", tmp_path / "nowhere")
