"""Test the checker of lesson 10: a student's C is compiled, run between closed pages, and judged by cases."""

import re
import subprocess
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.course import kernels
from tinyllm.course.answer_keys import NAMELESS, answers, edited, read
from tinyllm.course.checker import judge_lesson
from tinyllm.course.failures import INSIDE
from tinyllm.course.syllabus import find_lesson
from tinyllm.course.workers import Failure, Worker, descendants, why_not
from tinyllm.testing.properties import ORDINARY

pytestmark = pytest.mark.skipif(kernels.find_compiler() is None, reason="needs a C compiler")

GOOD = read(10)["softmax"]["reference"] + read(10)["matmul"]["reference"]
SOFTMAX, MATMUL = find_lesson(10).tasks
# A few of each; `course selftest` and tests/proofs/verify_names.py try the others.
WRONG = [(task, answer) for task in (SOFTMAX, MATMUL) for answer in answers(task).wrong[::9]]


@pytest.fixture
def judge_c(judge):
    """Judge an exercise on a C source."""
    return lambda task, source, **options: judge(source, task, "exercise.c", **options)


@pytest.mark.parametrize("task", find_lesson(10).tasks, ids=lambda task: task.name)
def test_right_kernels_pass_and_the_stub_is_not_attempted(judge_c, task):
    verdict = judge_c(task, GOOD)
    assert (verdict.state, verdict.broken) == ("passed", ()) and len(verdict.held) >= 6
    assert judge_c(task, answers(task).right[1].text).state == "passed"
    stub = (find_lesson(10).path / "exercise.c").read_text()
    assert judge_c(task, stub).state == "not_attempted"
    for source in ("", f"/* {task.op}(y, x) {{ y; }} */"):
        assert judge_c(task, source).state == "not_attempted"


@pytest.mark.parametrize("task, answer", WRONG, ids=lambda x: getattr(x, "sentence", None) or x.name)
def test_a_mistake_is_rejected_by_the_property_meant_for_it_and_named(judge_c, task, answer):
    verdict = judge_c(task, answer.text)
    assert verdict.state == ("timed_out" if answer.breaks == NAMELESS[0] else "failed")
    assert any(answer.breaks in words for words in (*verdict.broken, verdict.message)), verdict
    if answer.breaks not in NAMELESS:
        assert verdict.mistake == answer.sentence


BEGINS_AT_ONE = "i = 0; i < n; i++)\n            sum", "i = 1; i < n; i++)\n            sum"
BLOCKS = "four columns at a time, also where fewer are left"
(OF_FOUR,) = [answer.text for answer in answers(MATMUL).wrong if answer.sentence == BLOCKS]
OF_EIGHT = OF_FOUR.replace("j += 4", "j += 8").replace("j + 4", "j + 8")


@pytest.mark.parametrize("task, source, mistake, message", [
    (SOFTMAX, "void softmax(float *y, const float *x, long rows, long n) { n++; }", "never set", ""),
    (MATMUL, "void matmul(float *y, const float *a, const float *b, long m, long k, long n) { n++; }",
     "never set", ""),
    (SOFTMAX, edited(GOOD, [BEGINS_AT_ONE]), None, "y is full of NaN before the call"),
    (MATMUL, OF_FOUR, BLOCKS, ""), (MATMUL, OF_EIGHT, None, ""),  # first they touch the same element
], ids=range(5))
def test_what_is_wrong_is_named(judge_c, task, source, mistake, message):
    said = []
    verdict = judge_c(task, source, first=lambda *words: said.append(words))
    assert mistake in verdict.mistake if mistake else verdict.mistake is None
    assert message in verdict.message and {name for name, _ in said} == {task.name}  # once that of the op


def test_the_input_shown_is_what_the_c_function_got(judge_c):
    """Check that two matrices are shown, not stacks of them or transposed ones, which only the op knows."""
    verdict = judge_c(MATMUL, GOOD.replace("b[p * n + j]", "b[j * k + p]"))
    matrix = r"np\.float32\(\[\[[^\[].*"
    assert re.fullmatch(rf"  a = {matrix}\n  b = {matrix}", verdict.smallest_input)
    assert verdict.mistake == "b read as if it were transposed" and verdict.broken[0] == ORDINARY


ALIGNMENT = """
        long head = ((64 - ((unsigned long)in & 63)) & 63) / 4;
        if (head > n) head = n;
        for (long i = 0; i < n; i++) out[i] = largest == -INFINITY ? 0 : expf(in[i] - largest);
        for (long i = head; i < n; i++) sum += out[i];
        for (long i = 0; i < head; i++) sum += out[i];
"""
SUM = re.search(r"[^\n]*\n[^\n]*sum \+= out\[i\] =[^\n]*", GOOD)[0]
C_LIBRARY = """#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
static _Thread_local int calls;
static void use_it(long n) {
    char *large = malloc(10000000);
    assert(large);
    large[9000000] = 1;
    if (calls++ < 2) printf("%ld\\n", n), fprintf(stderr, "%d\\n", errno);
    free(large);
}
"""
HEAD = "void softmax(float *y, const float *x, long rows, long n) {"
UNUSUAL = {
    "sums that depend on the alignment": {SUM: ALIGNMENT},
    "a declaration": {HEAD: f"__attribute__((hot)) {HEAD.replace('*', '*restrict ')[:-2]};\n{HEAD}"},
    "a header of the student's": {"#include <math.h>": '#include "mine.h"'},
    "functions of the C library": {HEAD: f"{C_LIBRARY}{HEAD} use_it(n);"},
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_but_right_kernels_pass(judge_c, tmp_path, name):
    (tmp_path / "mine.h").write_text("#include <math.h>\n")
    verdict = judge_c(SOFTMAX, edited(GOOD, UNUSUAL[name].items()))
    assert (verdict.state, verdict.message) == ("passed", "")


SET_ROW, SET_SUM = "rows; r++) {", "float sum = 0;"  # in the loop over the rows of softmax; in that of matmul
OVERRUNS = [  # (task, old text, new text, words of the message)
    (SOFTMAX, "i < n; i++)\n            if", "i <= n; i++)\n            if",
     r"touches x\[\d+\], after the end of x, which has \d+ elements"),
    (SOFTMAX, "= in[i];", "= in[i]; largest += 0 * *(volatile float *)(x - 1);",
     r"touches x\[-1\], before the beginning of x"),
    (SOFTMAX, SET_ROW, f"{SET_ROW} y[rows * n] = 0;", r"touches y\[\d+\], after the end of y"),
    (SOFTMAX, SET_ROW, f"{SET_ROW} y[-1] = 0;", r"y\[-1\], before the beginning of y"),
    (SOFTMAX, HEAD, f"{HEAD} static int calls; if (++calls == 110) y[-1] = 0;", "before the beginning of y"),
    (SOFTMAX, HEAD, f"{HEAD} static int calls; if (++calls == 109) y[-1] = 0;", r"writes to y\[-1\], before"),
    (SOFTMAX, SET_ROW, f"{SET_ROW} if (n) ((float *)x)[0] = 0;", "writes into x, which is const: element 0"),
    (SOFTMAX, SET_ROW, f"{SET_ROW} if (n == 0) *(const volatile float *)x;", r"x\[0\], after the end of x"),
    (SOFTMAX, SET_ROW, f"{SET_ROW} if (((long)x & 4095) == 0) {{ y[r * n] = 9; continue; }}", "lies beside"),
    (MATMUL, SET_SUM, "float sum = 0 * *(volatile float *)(b + k * n);", "after the end of b"),
    (MATMUL, SET_SUM, f"{SET_SUM} y = 0;", "null pointer"),
    (MATMUL, SET_SUM, f"{SET_SUM} y -= 1L << 30;", "far from its arrays"),
]
CRASHES = [
    (MATMUL, SET_SUM, f"{SET_SUM} if (k == 2) __builtin_trap();", "Illegal|Trace"),
    (MATMUL, SET_SUM, f"{SET_SUM} volatile long zero = 0; if (k == 2) sum = m / zero;", "divides a whole"),
    (SOFTMAX, HEAD, f"#include <stdlib.h>\n{HEAD} exit(0);", "called for an exit"),
    (SOFTMAX, HEAD, f"__attribute__((constructor)) static void f(void) {{ *(volatile int *)8 = 1; }}\n{HEAD}",
     "the process that ran the file ended: Segmentation fault"),
]


@pytest.mark.parametrize("task, before, after, words", OVERRUNS + CRASHES)
def test_the_message_names_the_bad_access_or_the_crash(judge_c, task, before, after, words):
    verdict = judge_c(task, edited(GOOD, [(before, after)]))
    assert verdict.state == ("failed" if verdict.runs else "blocked") and INSIDE in verdict.broken
    assert re.search(words, verdict.message), verdict.message
    assert verdict.smallest_input or (task, before, after, words) in CRASHES


@given(st.integers(), st.integers(), st.integers(-1, 2))
def test_any_report_is_one_line(number, offset, operand):
    said = kernels.fault(number, offset, [("y", 3), ("x", 3)], operand).message
    assert said.isprintable() and len(said) < 200 and "into y" not in said


REPORT, Y = np.array([0, -1, 0]), np.ones((2, 6), np.float32)
FORGED = [None, [], [REPORT], [REPORT, Y, Y], [REPORT.astype(float), Y], [REPORT, Y.astype(float)],
          [REPORT, Y[:1]], [REPORT[:2], Y], [REPORT, Y.tolist()], [REPORT, Y[:, :5]], {"value": Y}]


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
    (GOOD + "__asm__(\".incbin \\\"nowhere\\\"\");\n", "does not compile: exercise.s:", None),
    (GOOD + "int main(void) { return 0; }\n", "does not compile: .*main", None),
    (GOOD + "void dgemm_(void);\nvoid f(void) { dgemm_(); }\n", "does not compile: .*dgemm_", None),
    ('#line 1 "exercise.c:' + "9" * 4400 + '"\n#error here\n' + GOOD, "does not compile", None),
    ('#include "/etc/passwd"\n' + GOOD, "does not compile", 1),
    ('#include "exercise.c"\n' + GOOD, "does not compile", None),
], ids=range(7))
def test_c_that_does_not_compile_is_one_line(judge_c, source, words, line):
    verdict = judge_c(SOFTMAX, source)
    assert verdict.state == "failed" and re.search(words, verdict.message), verdict
    assert verdict.message.isprintable() and len(verdict.message) <= 400
    assert line is None or verdict.line == line
    assert "root" not in verdict.message


@pytest.mark.skipif(bool(why_not("landlock")), reason=f"landlock: {why_not('landlock')}")
def test_a_compiler_behind_fences_compiles_and_sees_no_secret(tmp_path):
    secret, work = tmp_path / "secret.h", tmp_path / "work"
    secret.write_text("the answer is 42\n")
    work.mkdir()
    assert kernels.build(GOOD, "softmax", work, "landlock", work) == work / "program"
    failure = kernels.build(f'#include "{secret}"\n' + GOOD, "softmax", work, "landlock", work)
    assert "Permission denied" in failure.message and "answer" not in failure.message


def test_a_compiler_that_never_stops_talking_takes_no_memory_of_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "COMPILE_SECONDS", 2)
    again = '#warning x\n#if __INCLUDE_LEVEL__ < 150\n#include "exercise.c"\n#include "exercise.c"\n#endif\n'
    tracemalloc.start()
    failure = kernels.build(GOOD + again, "softmax", tmp_path, "plain", tmp_path)
    assert failure.state in ("failed", "timed_out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_grader_that_has_to_end_leaves_no_compiler_behind(tmp_path, monkeypatch):
    def interrupted(process, timeout):
        monkeypatch.undo()
        raise SystemExit(1)  # as SIGTERM does

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    before = descendants()
    with pytest.raises(SystemExit):
        kernels.build(GOOD, "softmax", tmp_path, "plain", tmp_path)
    assert descendants() == before


def test_comments_without_an_end_take_no_time():
    began = time.process_time()
    for source in ("/* " * 80_000, "softmax()" * 28_000):
        assert not kernels.has_body(source, "softmax")
    assert time.process_time() - began < 2


def test_what_is_in_c_is_judged_whatever_is_in_the_file_beside_it(launcher, tmp_path):
    (tmp_path / "exercise.py").write_text("raise SystemExit\n")
    verdicts = judge_lesson(find_lesson(10).tasks, launcher, tmp_path / "exercise.py")
    assert {verdict.state for verdict, _ in verdicts} == {"not_attempted"}


def test_no_file_and_no_compiler(judge, judge_c, monkeypatch):
    assert judge("", SOFTMAX).state == "not_attempted"
    monkeypatch.setattr(kernels, "find_compiler", lambda: None)
    verdict = judge_c(SOFTMAX, GOOD)
    assert verdict.state == "blocked" and "install one" in verdict.message


def test_the_speed_of_the_students_kernel_is_measured(tmp_path):
    Path(tmp_path, "exercise.c").write_text(GOOD)
    assert kernels.measure("matmul", tmp_path) > 0
    Path(tmp_path, "exercise.c").write_text(GOOD.replace("float sum = 0;", "float sum = 0; y = 0;"))
    assert "did not come to its end" in kernels.measure("matmul", tmp_path)
    assert "still empty" in kernels.measure("matmul", tmp_path / "nowhere")
