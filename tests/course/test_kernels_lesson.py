"""Lesson 10's checker: a student's C, compiled, run between guard pages, and judged by the ops' own cases."""

import ctypes
import platform
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from tinyllm.course import guard_pages, kernels
from tinyllm.course.answer_keys import NAMELESS, answers, edited, read
from tinyllm.course.checker import judge_lesson
from tinyllm.course.elf_symbols import EARLY, NO_OBJECT, refusal, runs_at_load
from tinyllm.course.failures import INSIDE
from tinyllm.course.fork_server import descendants
from tinyllm.course.syllabus import find_lesson
from tinyllm.course.workers import why_not
from tinyllm.testing.properties import ORDINARY

pytestmark = pytest.mark.skipif(kernels.find_compiler() is None, reason="needs a C compiler")

GOOD = read(10)["softmax"]["reference"] + read(10)["matmul"]["reference"]
SOFTMAX, MATMUL = find_lesson(10).tasks
# A few of each; `course selftest` and tests/proofs/verify_names.py try the others.
WRONG = [(task, answer) for task in (SOFTMAX, MATMUL) for answer in answers(task).wrong[::9]]


@pytest.fixture
def judge_c(judge):
    """Judge an exercise on a C source."""
    return lambda task, source, **options: judge(source, task, "exercise.c", **{"effort": 0} | options)


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


def test_two_ways_beyond_the_end_are_told_apart(judge_c):
    """Both touch the same element first where columns are left over; elsewhere only one goes outside."""
    name = "four columns at a time, also where fewer are left"
    (blocks,) = [answer.text for answer in answers(MATMUL).wrong if answer.sentence == name]
    assert judge_c(MATMUL, blocks).mistake == name
    assert judge_c(MATMUL, blocks.replace("j += 4", "j += 8").replace("j + 4", "j + 8")).mistake is None


@pytest.mark.parametrize("task, source", [
    (SOFTMAX, "void softmax(float *y, const float *x, long rows, long n) { long r = 0; r++; }"),
    (MATMUL, "void matmul(float *y, const float *a, const float *b, long m, long k, long n) { n++; }"),
])
def test_a_y_that_is_never_set_is_named(judge_c, task, source):
    said = []
    assert "never set" in judge_c(task, source, first=lambda *words: said.append(words)).mistake
    assert [name for name, _ in said] == [task.name]  # it was once that of the op


def test_the_first_number_of_a_row_without_numbers_is_not_read(judge_c):
    verdict = judge_c(SOFTMAX, GOOD.replace("largest = -INFINITY,", "largest = fabsf(in[0]) - 1e30f,")
                      .replace("sum > 0 ?", "largest > 0 ? 0 : sum > 0 ?"))
    assert verdict.state == "failed" and INSIDE in verdict.broken


def test_an_element_that_is_never_set_is_explained(judge_c):
    loop = "i = 0; i < n; i++)\n            sum"
    begins_at_one = edited(read(10)["softmax"]["reference"], [(loop, loop.replace("0", "1"))])
    verdict = judge_c(SOFTMAX, begins_at_one)
    assert verdict.mistake is None and "y is full of NaN before the call" in verdict.message


def test_the_input_shown_is_what_the_c_function_got(judge_c):
    """Two matrices, and not stacks of them, some transposed, that only the op knows."""
    verdict = judge_c(MATMUL, GOOD.replace("b[p * n + j]", "b[j * k + p]"), effort=20)
    matrix = r"np\.float32\(\[\[[^\[].*"
    assert re.fullmatch(rf"  a = {matrix}\n  b = {matrix}", verdict.smallest_input)
    assert verdict.mistake == "b read as if it were transposed" and verdict.broken[0] == ORDINARY


def test_a_stub_in_a_file_that_does_not_compile_is_not_merely_untried(judge_c):
    stub = (find_lesson(10).path / "exercise.c").read_text()
    verdict = judge_c(MATMUL, stub + "int x = ;\n")
    assert verdict.state == "failed" and "does not compile" in verdict.message and verdict.line


BY_ALIGNMENT = """
        long head = ((64 - ((unsigned long)in & 63)) & 63) / 4;
        if (head > n) head = n;
        for (long i = 0; i < n; i++) out[i] = largest == -INFINITY ? 0 : expf(in[i] - largest);
        for (long i = head; i < n; i++) sum += out[i];
        for (long i = 0; i < head; i++) sum += out[i];
"""
SUM = re.search(r"[^\n]*\n[^\n]*sum \+= out\[i\] =[^\n]*", GOOD)[0]


@pytest.mark.parametrize("before, after", [
    (SUM, BY_ALIGNMENT),
    ("void softmax(float *y, const float *x, long rows, long n) {",
     "__attribute__((hot)) void softmax(float *restrict y, const float *restrict x, long rows, long n);\n"
     "void softmax(float *restrict y, const float *restrict x, long rows, long n)\n{"),
    ("#include <math.h>", '#include "mine.h"'),
], ids=["sums go by alignment", "declared first", "a header of one's own"])
def test_right_kernels_of_unusual_making_pass(judge_c, tmp_path, before, after):
    (tmp_path / "mine.h").write_text("#include <math.h>\n")
    assert before in GOOD
    verdict = judge_c(SOFTMAX, GOOD.replace(before, after))
    assert (verdict.state, verdict.message) == ("passed", "")


OVERRUNS = {
    "reads after the end of x": (SOFTMAX, "i < n; i++)\n            if", "i <= n; i++)\n            if",
                                 r"x\[\d+\], after the end of x"),
    "reads before x": (SOFTMAX, "= in[i];", "= in[i]; largest += 0 * *(volatile float *)(x - 1);",
                       r"x\[-1\], before the beginning of x"),
    "writes after the end of y": (SOFTMAX, "rows; r++) {", "rows; r++) { y[rows * n] = 0;",
                                  r"y\[\d+\], after the end of y"),
    "writes before y": (SOFTMAX, "rows; r++) {", "rows; r++) { y[-1] = 0;",
                        r"y\[-1\], before the beginning of y"),
    "writes into x": (SOFTMAX, "rows; r++) {", "rows; r++) { if (n) ((float *)x)[0] = 0;", "writes into x"),
    "follows a null pointer": (MATMUL, "float sum = 0;", "float sum = 0; y = 0;", "null pointer"),
}


@pytest.mark.parametrize("case", OVERRUNS)
def test_guard_pages_name_the_operand_and_the_side(judge_c, case):
    task, before, after, words = OVERRUNS[case]
    assert before in GOOD
    verdict = judge_c(task, GOOD.replace(before, after))
    assert verdict.state == "failed" and INSIDE in verdict.broken
    assert re.search(words, verdict.message), verdict.message
    assert not verdict.message.startswith(("Outside", "Crash"))  # our own names
    assert verdict.smallest_input


TEXT = Path(__file__).with_name("hostile").joinpath("kernels.txt").read_text("utf-8")
HOSTILE = {name: (words, text) for name, words, text in
           re.findall(r"(?ms)^#### ([^|\n]+) \| ([^\n]+)\n(.*?)(?=^#### |\Z)", TEXT)}
IFUNC = "a function that is chosen as it is loaded"
RAW = [name for name in HOSTILE if name.startswith("raw: ")]
needs_landlock = pytest.mark.skipif(bool(why_not("landlock")), reason=f"landlock: {why_not('landlock')}")
needs_assembly = pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux",
                                    reason="system calls of Linux on x86-64")


def hostile(name):
    """The attack of this name, in front of a right softmax."""
    attack = HOSTILE[name][1].replace("@DIGITS", "9" * 4400)
    return attack + GOOD.replace("long n) {", "long n) { first(x, rows * n * 4);", 1)


@pytest.mark.skipif(sys.platform != "linux", reason="ELF is read, which is Linux")
@pytest.mark.parametrize("name", sorted(HOSTILE.keys() - set(RAW)))
def test_what_a_kernel_has_no_use_for_is_refused_by_its_name(judge_c, name):
    verdict = judge_c(SOFTMAX, hostile(name))
    assert (verdict.state, verdict.held) == ("failed", ()) and HOSTILE[name][0] in verdict.message
    assert len(verdict.message) <= 400 and verdict.message.isprintable()


@pytest.mark.skipif(sys.platform != "linux", reason="ELF is read, which is Linux")
def test_what_the_linker_adds_is_read_as_the_loader_reads_it(tmp_path):
    """A library with a constructor or an ifunc is refused, whatever its object was made of."""
    ifunc = HOSTILE[IFUNC][1] + "float b(void) { return chosen(1); }"
    for text in ("__attribute__((constructor)) void a(void) {}", ifunc):
        Path(tmp_path, "a.c").write_text(text)
        command = [kernels.find_compiler(), "-shared", "-nostartfiles", "-fPIC", "-o", "a.so", "a.c"]
        subprocess.run(command, cwd=tmp_path, check=True)
        data = Path(tmp_path, "a.so").read_bytes()
        assert runs_at_load(data) == EARLY
        for n in range(0, len(data), 97):
            assert "\n" not in runs_at_load(data[:n] + b"\xff" + data[n + 1 :])


def test_margins_that_stay_open_are_noticed(monkeypatch):
    """As behind a filter of the student's by which mprotect does nothing and says that it did."""
    libc = ctypes.CDLL(None)
    monkeypatch.setattr(libc, "mprotect", lambda *args: 0)
    with pytest.raises(OSError, match="mprotect did not protect"):
        guard_pages.Operand(libc)


def test_an_object_file_that_is_damaged_is_refused(tmp_path):
    assert kernels.build(GOOD, "softmax", tmp_path, "plain", tmp_path) == tmp_path / "run.py"
    data = (tmp_path / "exercise.o").read_bytes()
    assert refusal(data) == ""
    if data.startswith(b"\x7fELF"):
        assert all(refusal(data[:n]) in ("", NO_OBJECT) for n in range(0, len(data), 7))
        for n in range(0, len(data), 5):
            assert "\n" not in refusal(data[:n] + b"\xff" + data[n + 1 :])


@needs_assembly
@needs_landlock
@pytest.mark.parametrize("name", RAW)
def test_guard_pages_stay_closed_to_system_calls(name, judge_c):
    verdict = judge_c(SOFTMAX, hostile(name))
    assert verdict.state == "failed" and INSIDE in verdict.broken
    assert HOSTILE[name][0] in verdict.message


USUAL = """#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static _Thread_local int calls;
""" + GOOD.replace("float *out = y + r * n,", """float *copy = calloc(n + 1, 4);
        assert(copy);
        memcpy(copy, in, n * sizeof *copy);
        in = copy;
        if (calls++ < 2) printf("%ld\\n", n), fprintf(stderr, "%d\\n", errno);
        float *out = y + r * n,""").replace("0;\n    }\n}", "0;\n        free(copy);\n    }\n}", 1)


def test_what_the_c_library_is_for_may_be_used(judge_c):
    verdict = judge_c(SOFTMAX, USUAL)
    assert (verdict.state, verdict.message) == ("passed", "")


def test_memory_that_is_asked_for_and_given_back_lasts(judge_c):
    """What is given back stays, behind the filter; the C library then takes it from elsewhere."""
    large = "float *large = malloc(10000000); if (!large) return; large[0] = large[2400000] = 1; free(large);"
    verdict = judge_c(SOFTMAX, "#include <stdlib.h>\n" + GOOD.replace("r++) {", "r++) { " + large, 1))
    assert (verdict.state, verdict.message) == ("passed", "")


CRASHES = """
import ctypes, sys
from tinyllm.course import sandbox
from tinyllm.course.fork_server import load_file
sys.modules["_tinyllm_sandbox"] = sandbox
load_file("exercise", sys.argv[1])
ctypes.string_at(0)
"""


def test_a_crash_of_the_worker_itself_is_still_one(tmp_path):
    runner = kernels.build(GOOD, "softmax", tmp_path, "plain", tmp_path)
    done = subprocess.run([sys.executable, "-c", CRASHES, str(runner)], timeout=60)
    assert done.returncode == -signal.SIGSEGV


def test_a_crash_is_a_message(judge_c):
    source = GOOD.replace("float sum = 0;", "float sum = 0; if (k == 2) __builtin_trap();")
    verdict = judge_c(MATMUL, source)
    assert verdict.state == "failed" and verdict.broken and verdict.message and "Crash" not in verdict.message


@pytest.mark.parametrize("source, words, line", [
    (GOOD + "int x = ;\n", "does not compile", GOOD.count("\n") + 1),
    (GOOD + "__asm__(\".incbin \\\"nowhere\\\"\");\n", "does not compile: exercise.s:", None),
    ('#include "/etc/passwd"\n' + GOOD, "does not compile", 1),
    ('#include "exercise.c"\n' + GOOD, "does not compile", None),
])
def test_c_that_does_not_compile_is_one_line(judge_c, source, words, line):
    verdict = judge_c(SOFTMAX, source)
    assert verdict.state == "failed" and words in verdict.message and "\n" not in verdict.message
    assert line is None or verdict.line == line
    assert "root" not in verdict.message


@needs_landlock
def test_a_compiler_behind_fences_compiles_and_sees_no_secret(tmp_path):
    secret, work = tmp_path / "secret.h", tmp_path / "work"
    secret.write_text("the answer is 42\n")
    work.mkdir()
    assert kernels.build(GOOD, "softmax", work, "landlock", work) == work / "run.py"
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


def test_a_kernel_that_goes_outside_late_does_not_pass(judge_c):
    late = "{ static int calls; if (++calls == 110) y[-1] = 0; "
    verdict = judge_c(SOFTMAX, GOOD.replace("long n) {", "long n) " + late, 1))
    assert verdict.state == "failed" and INSIDE in verdict.broken and "before" in verdict.message


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
