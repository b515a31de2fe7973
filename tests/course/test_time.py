"""Check that processor time limits a worker, and that a worker that only sleeps is found."""

import signal
import subprocess
import sys
import time

import pytest

from tinyllm.course import mutants, workers
from tinyllm.course.classroom import grading
from tinyllm.course.classroom.collect import Submission
from tinyllm.course.classroom.config import Course, Part
from tinyllm.course.fork_server import asleep
from tinyllm.course.reference_solution import solved
from tinyllm.course.syllabus import Exercise, find_lesson
from tinyllm.ops import OPS

CODE = """
import os, time
import numpy as np
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
    return 1
def sleep(): time.sleep(60)
def nap():
    for _ in range(600): time.sleep(0.1)
def test_softmax(softmax):
    burn(0.5)
    softmax(np.ones(2, np.float32))
"""
pytestmark = pytest.mark.signals  # processor time and sleep are measured
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@pytest.fixture
def start(launcher, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "ASLEEP", 2)
    (tmp_path / "exercise.py").write_text(CODE)
    return lambda **limits: launcher.start(tmp_path / "exercise.py", limits)


@needs_proc
@pytest.mark.parametrize("function", ["sleep", "nap", "an import"])
def test_a_worker_that_only_waits_is_out_of_time(start, tmp_path, function):
    if function == "an import":
        (tmp_path / "exercise.py").write_text("import time\ntime.sleep(60)\n")
    with start() as worker:
        assert worker.call(function, ()).state == "timed_out"


@needs_proc
def test_the_stopped_and_the_dead_are_not_asleep():
    assert not asleep(2**30)
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        while not asleep(sleeper.pid):
            time.sleep(0.01)
        sleeper.send_signal(signal.SIGSTOP)  # somebody else's work, which is no sleep
        while asleep(sleeper.pid):
            time.sleep(0.01)
    finally:
        sleeper.kill()
        sleeper.wait()


def test_processor_time_is_counted_and_neither_calls_nor_tests_are_timed_by_the_clock(start, monkeypatch):
    """The clock runs 40 times too fast, as it seems to a process that has a fortieth of a processor."""
    monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: 40 * monotonic())
    with start(cpu_seconds=2) as worker:
        launcher = worker.launcher  # shared with other tests, whose time it has counted already
        before, used = launcher.cpu, launcher.used()
        assert worker.call("burn", (1.0,)) == 1 and worker.looks < 2  # it works, so it is not asleep
        assert sys.platform != "linux" or launcher.used() - used > 0.9  # also while it runs
    assert sys.platform == "win32" or 0.9 < launcher.cpu - before < 4
    task = Exercise("test_softmax", "softmax", "tests")
    failure, bench = mutants.run_test(task, start, OPS["softmax"].reference)
    assert failure is None and bench.calls == 1


def test_when_a_submission_is_out_of_time_its_verdicts_stay(monkeypatch, tmp_path):
    lesson = find_lesson(4)
    right = "\n\n".join(solved(lesson.task(name)) for name in ("softmax", "softmax_backward"))
    slow = "real = softmax_backward\ndef softmax_backward(*args):\n    burn(0.1)\n    return real(*args)\n"
    submission = Submission("Ada", tmp_path)
    submission.files[lesson.folder, "exercise.py"] = (CODE + right + "\n\n" + slow).encode()
    part = Part(lesson, {"softmax": 2, "softmax_backward": 1})
    monkeypatch.setattr(grading, "CPU_SECONDS", 4)
    record = grading.grade(submission, Course((part,), seed=7), "plain")
    first, second = record["lessons"][0]["tasks"]
    assert (first["state"], first["points"]) == ("passed", 2)
    assert (second["state"], second["points"]) == ("timed_out", 0)
    assert "used up" in second["message"] and record["points"] == 2
