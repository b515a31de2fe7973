"""Check that workers are fresh, that they and their children end, and that failures are explained."""

import os
import subprocess
import sys
import time
from itertools import chain, product, repeat
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from judged import descendants

from tinyllm.course import mutants, sandbox, workers
from tinyllm.course.classroom import grading
from tinyllm.course.classroom.collect import Submission
from tinyllm.course.classroom.config import Course, Part
from tinyllm.course.reference_solution import solved
from tinyllm.course.syllabus import Exercise, find_lesson
from tinyllm.course.workers import Launcher, best_level, printable, why_not
from tinyllm.errors import UserError
from tinyllm.ops import OPS

CODE = """
import os, sys, time
import numpy as np
calls = []
def count(): calls.append(1); return len(calls)
def double(x): return x * 2
def write(x): x[0] = 7; return x
def crash(): import ctypes; ctypes.string_at(0)
def leave(): os._exit(0)
def sleep(): time.sleep(60)
def todo(): raise NotImplementedError
def wrong(): raise ValueError("no\\x1b[2J\\nway")
def shout(): print("x" * 10**6)
def swap(): os.remove("output"); os.mkfifo("output")
def environment(): return dict(os.environ)
def ask(f): return f(2) + f(3)
def tally(): return max(iter(int, 1))
def handles(): return sorted(int(n) for n in range(100) if exists(n))
def exists(n):
    try: os.fstat(n); return True
    except OSError: return False
def child():
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
        os._exit(0)
    return pid
def step(x):
    half = x / 2
    return half + 1
def stairs():
    for i in range(65): j = i
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
    return 1
def test_softmax(softmax):
    burn(0.5)
    softmax(np.ones(2, np.float32))
"""
measured = pytest.mark.signals  # these send signals, or measure processor time
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's fork or /proc")
LEVELS = [level for level in workers.LEVELS if why_not(level) is None]
WAYS = [(level, True) for level in LEVELS if sys.platform == "linux"] + [("plain", False)]


@pytest.fixture
def code(tmp_path):
    path = tmp_path / "exercise.py"
    path.write_text(CODE)
    return path


@pytest.fixture(params=WAYS, ids=lambda way: way[0] if way[1] else "subprocess")
def start(request, code):
    with Launcher(*request.param) as launcher:
        yield lambda **limits: launcher.start(code, limits)


def test_a_value_comes_back_from_a_worker_that_is_fresh(start):
    x = np.arange(3.0, dtype=np.float32)
    for _ in range(2):
        with start() as worker:
            assert Path(worker.scratch).is_dir()
            assert [worker.call("count", ()) for _ in range(2)] == [1, 2]
            assert worker.call("double", (x,)).tolist() == [0, 2, 4]
            _, after = worker.call("write", (x,), send_args=True)
            assert after[0].tolist() == [7, 1, 2] and x.tolist() == [0, 1, 2]
            assert worker.call_with("ask", {"f": lambda args, kwargs: {"value": args[0] * 10}}) == 50
            assert dict(worker.steps("step", (4.0,))) == {"x": 4.0, "half": 2.0}
            assert worker.steps("stairs", ()) == []  # too many values, so that none can be said to be missing
        assert not Path(worker.scratch).exists()


def test_a_worker_gets_no_handles_and_no_environment_and_what_it_prints_is_kept(start, monkeypatch):
    """The worker also goes on after an error of the student's code."""
    monkeypatch.setenv("SECRET_TOKEN", "42")
    with start() as worker:
        for function, *expected in [("todo", "not_attempted", 11), ("wrong", "failed", 12),
                                    ("missing", "not_attempted", None)]:
            failure = worker.call(function, ())
            assert [failure.state, failure.line] == expected and failure.message.isprintable()
        assert len(worker.call("handles", ())) == 4  # three standard streams, and the socket
        found = worker.call("environment", ())
        assert worker.call("shout", ()) is None
        worker.call("swap", ())  # replace the output file by a pipe: reading must not wait for it
    assert set(found) <= {"HOME", "TMPDIR", "PYTHONDONTWRITEBYTECODE", "LC_CTYPE"}
    assert worker.output == b"x" * workers.MAX_OUTPUT


@pytest.mark.parametrize("function, state, words, limits", [
    ("crash", "failed", "egmentation", {}), ("leave", "failed", "exit", {}),
    ("sleep", "timed_out", "ran for more than", {"total_seconds": 1}),
    ("tally", "timed_out", "more than 1 second of processor", {}),
    ("tally", "timed_out", "more than 0.5 seconds of processor time", {"call_seconds": 0.5}),
])
def test_a_worker_keeps_the_failure_that_ended_it(start, function, state, words, limits):
    with start(**{"cpu_seconds": 1, "total_seconds": 30} | limits) as worker:
        failure = worker.call(function, ())
        assert failure.state == state and words in failure.message
        assert worker.call("count", ()) == worker.steps("count", ()) == failure  # later calls fail, too


def all_end(pids):
    """Wait until processes have ended -> True; False if one still runs after a minute."""
    for _ in range(3000):
        states = [Path(f"/proc/{pid}/stat") for pid in pids if Path(f"/proc/{pid}").exists()]
        if all(path.read_text().rpartition(")")[2].split()[0] == "Z" for path in states):
            return True
        time.sleep(0.02)
    return False


@measured
@needs_linux
@pytest.mark.parametrize("level", LEVELS)
def test_nobody_lives_on_when_a_worker_or_the_grader_ends(code, level):
    if level == "plain":  # at other levels a worker cannot fork
        with Launcher(level) as launcher, launcher.start(code) as worker:
            child = worker.call("child", ())
            os.kill(child, 0)  # it runs
        assert all_end({child})
    script = f"""
import sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from judged import descendants
from tinyllm.course.workers import Launcher
with Launcher({level!r}) as launcher, launcher.start({str(code)!r}, dict(cpu_seconds=30)) as worker:
    print(*descendants(), flush=True)
    worker.call("tally", ())
"""
    grader = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    left = {int(pid) for pid in grader.stdout.readline().split()}
    assert left
    grader.kill()
    grader.communicate()
    assert all_end(left)


def test_a_worker_that_does_not_start_says_why(code, monkeypatch):
    monkeypatch.setattr("tinyllm.course.processes.SCRIPT", code.with_name("absent.py"))
    before = set(descendants())
    match = r"does not start: .*absent\.py"
    with Launcher("plain", False) as launcher, pytest.raises(UserError, match=match):
        launcher.start(code)
    assert set(descendants()) == before


@measured
def test_neither_calls_nor_tests_are_timed_by_the_clock(launcher, code, monkeypatch):
    """The clock runs 10 times too fast, as it appears to a process with a tenth of a processor."""
    monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: 10 * monotonic())
    with launcher.start(code, {"cpu_seconds": 2}) as worker:
        assert worker.call("burn", (1.0,)) == 1
    task = Exercise("test_softmax", "softmax", "tests")
    failure, last = mutants.run_test(task, lambda: launcher.start(code), OPS["softmax"].reference)
    assert failure is None and "a right softmax returns" in last


def test_when_a_submission_is_out_of_time_its_verdicts_stay_and_no_cause_is_looked_for(monkeypatch, tmp_path):
    """A wrong function that sleeps in every call once took hours."""
    lesson, late = find_lesson(4), grading.CLOCK_SECONDS + 1

    def graded(text, *times):
        clock = chain(times, repeat(late))
        monkeypatch.setattr(grading, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        submission = Submission("Ada", tmp_path, files={(lesson.folder, "exercise.py"): text.encode()})
        part = Part(lesson, {"softmax": 2, "softmax_backward": 1})
        return grading.grade(submission, Course((part,), seed=7), "plain")["lessons"][0]["tasks"]

    right = "\n\n".join(solved(lesson.task(name)) for name in ("softmax", "softmax_backward"))
    tasks = graded(right, 0, 1)
    assert [(task["state"], task["points"]) for task in tasks] == [("passed", 2), ("timed_out", 0)]
    assert "used up" in tasks[1]["message"]
    wrong = graded("softmax = abs", 0, 1)[0]
    assert wrong["message"] and not wrong["smallest_input"]


def test_a_compiler_may_read_all_of_a_folder_but_the_library_in_it(tmp_path):
    for name in ("bin", "lib/gcc", "lib/python3/numpy", "lib/python3/tinyllm/ops"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lib/back").symlink_to(tmp_path)
    seen = sandbox.without(str(tmp_path), f"{tmp_path}/lib/python3/tinyllm")
    assert {os.path.relpath(path, tmp_path) for path in seen} == {"bin", "lib/gcc", "lib/python3/numpy"}
    assert sandbox.without(str(tmp_path), f"{tmp_path}2") == [str(tmp_path)]
    assert not {"/usr", "/usr/src", "/usr/local"} & {*sandbox.visible()}  # folders with source code


@pytest.mark.skipif(not sandbox.landlock_version(), reason="no Landlock here")
@pytest.mark.parametrize("more, reason", [
    ("", None), ("\ndef landlock(*a):\n    pass\n", "can read what it should not"),
    ("\ndef landlock(*a):\n    raise OSError('trouble')\n", "process that ran"),
], ids=["whole", "open", "broken"])
def test_a_fence_that_does_not_hold_is_found_out(more, reason, tmp_path, monkeypatch, own_fork_server):
    """A sandbox without effect is noticed, and the level is not used, with one line that says why."""
    here = Path(sandbox.__file__).parent
    for name in ("fork_server.py", "protocol.py", "sandbox.py"):
        text = (here / name).read_text("utf-8") + more * (name == "sandbox.py")
        (tmp_path / name).write_text(text, "utf-8")
    monkeypatch.setattr("tinyllm.course.processes.SCRIPT", tmp_path / "fork_server.py")
    if not more:
        assert why_not("landlock") is None and best_level() == LEVELS[0]
        return
    assert reason in why_not("landlock") and "\n" not in why_not("landlock") and best_level() == "plain"


def test_the_filter_is_well_formed():
    for machine, starts in product(sandbox.MACHINES, (False, True)):
        program = sandbox.seccomp_program(machine, starts)
        assert len(program) < 4096
        for i, (code, yes, no, _) in enumerate(program[:-1]):
            jump = code in (sandbox.EQUAL, sandbox.ANY_OF)
            assert (jump or yes == no == 0) and i + 1 + max(yes, no) < len(program)
        assert program[-1] == (sandbox.RETURN, 0, 0, sandbox.DENY)


EMPTY_IT = """
import os, sys
sys.path.insert(0, sys.argv[1])
import sandbox
sandbox.landlock_version = lambda: 2
sandbox.landlock([os.path.dirname(sys.argv[2])])
sandbox.seccomp()
for flags in (os.O_RDONLY, os.O_RDONLY | os.O_TRUNC):
    try:
        os.close(os.open(sys.argv[2], flags))
        print("opened")
    except PermissionError:
        print("refused")
"""


@pytest.mark.skipif("landlock" not in LEVELS, reason="no Landlock here")
def test_what_may_be_read_cannot_be_emptied_under_an_old_landlock(code):
    """Landlock of Linux 5.13 to 6.1 cannot deny O_TRUNC, even in an open for reading; seccomp must."""
    command = [sys.executable, "-c", EMPTY_IT, os.path.dirname(sandbox.__file__), str(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["opened", "refused"] and code.read_text() == CODE, done.stderr


def test_what_a_worker_says_is_made_harmless():
    """A line number of 4,000 digits must not get into results.json: other languages cannot read it."""
    for line, kept in ((3, 3), (0, None), (-1, None), (10**4000, None), (True, None), ("3", None)):
        error = {"error": {"kind": "ValueError", "message": "x", "line": line}}
        assert workers.raised("softmax", error).line == kept
    assert printable("a\x1b[2Jb\n\tc\u202e") == "a\N{REPLACEMENT CHARACTER}[2Jb c\N{REPLACEMENT CHARACTER}"
    assert len(printable("x" * 10**6)) == 400
