"""Workers: each is fresh, each comes to an end, and whatever it does has a name."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tinyllm.errors import UserError
from tinyllm.teach import sandbox, workers
from tinyllm.teach.course.queue import choose_level, isolation_words
from tinyllm.teach.workers import Failure, Zygote, best_level, printable, works

CODE = """
import os, sys, time
import numpy as np
calls = []
def count(): calls.append(1); return len(calls)
def double(x): return x * 2
def write(x): x[0] = 7; return x
def crash(): import ctypes; ctypes.string_at(0)
def leave(): os._exit(0)
def spin():
    while True: pass
def sleep(): time.sleep(60)
def todo(): raise NotImplementedError
def wrong(): raise ValueError("no\\x1b[2J\\nway")
def shout(): print("x" * 10**6)
def limits(): import resource; return resource.getrlimit(resource.RLIMIT_CPU)[0]
def handles(): return sorted(int(n) for n in range(100) if exists(n))
def exists(n):
    try: os.fstat(n); return True
    except OSError: return False
def environment(): return dict(os.environ)
def threads(): import threading; threading.Thread(target=time.sleep, args=(1,)).start(); return 1
def daemon():
    if os.fork() == 0:
        os.setsid()
        time.sleep(60)
    return 1
def step(x):
    half = x / 2
    return half + 1
"""
LEVELS = [level for level in workers.LEVELS if works(level)]


@pytest.fixture(params=LEVELS)
def start(request, tmp_path):
    code = tmp_path / "exercise.py"
    code.write_text(CODE)
    with Zygote(request.param) as zygote:
        yield lambda **limits: zygote.start(code, limits)


def test_a_value_comes_back(start):
    with start() as worker:
        x = np.arange(3.0, dtype=np.float32)
        assert worker.call("double", (x,)).tolist() == [0, 2, 4]
        _, after = worker.call("write", (x,), send_args=True)
        assert after[0].tolist() == [7, 1, 2] and x.tolist() == [0, 1, 2]


def test_every_worker_is_fresh(start):
    for _ in range(2):
        with start() as worker:
            assert [worker.call("count", ()) for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("function, state, words", [
    ("crash", "failed", "egmentation"), ("leave", "failed", "exit"), ("todo", "not_attempted", ""),
    ("wrong", "failed", "ValueError: no"), ("missing", "not_attempted", "no function missing"),
    ("sleep", "timed_out", "did not come to an end"), ("spin", "timed_out", "did not come to an end"),
])  # fmt: skip
def test_an_end_has_a_name(start, function, state, words):
    with start(cpu_seconds=1) as worker:
        failure = worker.call(function, (), seconds=2 if function == "sleep" else 30)
        assert isinstance(failure, Failure) and failure.state == state
        assert words in failure.message and failure.message.isprintable()
        if function == "wrong":
            assert failure.line == 14
            assert worker.call("count", ()) == 1  # an error is no end
        if function in ("crash", "leave", "spin", "sleep"):
            assert isinstance(worker.call("count", ()), Failure)  # what is out of step stays out of step


def test_what_a_student_prints_is_kept_up_to_a_point(start):
    with start() as worker:
        assert worker.call("shout", ()) is None
    assert bytes(worker.output) == b"x" * workers.MAX_OUTPUT


def test_a_worker_gets_no_handles_and_no_environment(start, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "42")
    with start() as worker:
        assert len(worker.call("handles", ())) == 4  # 0, 1, 2, and the way back
        found = worker.call("environment", ())
    assert set(found) <= {"HOME", "TMPDIR", "PYTHONDONTWRITEBYTECODE", "LC_CTYPE"}


def test_the_scratch_folder_goes(start):
    with start() as worker:
        assert Path(worker.scratch).is_dir()
    assert not Path(worker.scratch).exists()


def test_steps_are_seen(start):
    with start() as worker:
        assert dict(worker.steps("step", (4.0,))) == {"x": 4.0, "half": 2.0}


def test_a_zygote_that_dies_is_replaced(start):
    with start() as worker:
        zygote = worker.zygote
        zygote.process.kill()
        zygote.process.wait()
    with start() as worker:
        assert worker.call("count", ()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_daemon_is_reaped(tmp_path):
    code = tmp_path / "exercise.py"
    code.write_text(CODE)
    with Zygote("plain") as zygote:
        with zygote.start(code) as worker:
            assert worker.call("daemon", ()) == 1
            assert len(children(zygote.process.pid)) == 2
        assert children(zygote.process.pid) == []


def children(pid):
    """The descendants of a process by /proc."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        found += Path(f"/proc/{pid}/task/{task}/children").read_text().split()
    return found + [inner for child in found for inner in children(child)]


def test_nobody_lives_on_when_the_grader_is_killed(tmp_path):
    code = tmp_path / "exercise.py"
    code.write_text(CODE)
    script = f"""
import os
from tinyllm.teach.workers import Zygote, best_level
with Zygote(best_level()) as zygote, zygote.start({str(code)!r}, dict(cpu_seconds=30)) as worker:
    print(zygote.process.pid, flush=True)
    worker.call("spin", (), seconds=60)
"""
    grader = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    pid = int(grader.stdout.readline())
    grader.kill()
    grader.communicate()
    for _ in range(500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise AssertionError("the zygote outlives its grader")


def test_a_stalling_worker_has_one_deadline_for_all_calls(start):
    with start(total_seconds=1) as worker:
        assert worker.call("sleep", (), seconds=100).state == "timed_out"


@pytest.mark.skipif("landlock" not in LEVELS, reason="no Landlock here")
def test_a_fenced_worker_cannot_start_threads(tmp_path):
    code = tmp_path / "exercise.py"
    code.write_text(CODE)
    with Zygote("landlock") as zygote, zygote.start(code) as worker:
        assert worker.call("threads", ()).state == "failed"


def test_the_filter_is_well_formed():
    for machine in sandbox.MACHINES:
        program = sandbox.seccomp_program(machine)
        assert len(program) < 4096
        for i, (code, yes, no, _) in enumerate(program[:-1]):
            jump = code in (sandbox.EQUAL, sandbox.AT_LEAST, sandbox.ANY_OF)
            assert (jump or yes == no == 0) and i + 1 + max(yes, no) < len(program)
        assert program[-1] == (sandbox.RETURN, 0, 0, sandbox.ALLOW)


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
def test_what_may_be_read_cannot_be_emptied_under_an_old_landlock(tmp_path):
    """Linux 5.13 to 6.1 know no right to truncate; opening to read may ask for it."""
    path = tmp_path / "library.py"
    path.write_text("x = 1\n")
    command = [sys.executable, "-c", EMPTY_IT, os.path.dirname(sandbox.__file__), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["opened", "refused"], done.stderr
    assert path.read_text() == "x = 1\n"


def test_levels_fail_closed(monkeypatch):
    assert best_level() == LEVELS[0]
    monkeypatch.setattr(workers, "works", lambda level: level == "plain")
    monkeypatch.setattr("tinyllm.teach.course.queue.works", lambda level: level == "plain")
    assert choose_level("auto") == "plain"
    for wanted, required in (("landlock", False), ("bwrap", False), ("auto", True), ("plain", True)):
        with pytest.raises(UserError):
            choose_level(wanted, required)
    assert "stops accidents, not attackers" in isolation_words("plain")


def test_printable():
    assert printable("a\x1b[2Jb\n\tc\u202e") == "a\N{REPLACEMENT CHARACTER}[2Jb c\N{REPLACEMENT CHARACTER}"
    assert len(printable("x" * 10**6)) == 400
