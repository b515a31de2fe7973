"""Workers: each is fresh, each comes to an end, and whatever it does has a name."""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import tinyllm
from tinyllm.course import sandbox, workers
from tinyllm.course.classroom.queue import choose_level
from tinyllm.course.workers import Failure, Zygote, best_level, isolation_words, printable, why_not, works
from tinyllm.course.zygote import descendants, watch
from tinyllm.errors import UserError

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
    child = os.fork()
    if child == 0:
        os.setsid()
        time.sleep(60)
        os._exit(0)
    while os.getsid(child) != child: pass
    return child
def ask(f): return f(2) + f(3)
def step(x):
    half = x / 2
    return half + 1
"""
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's fork or /proc")
LEVELS = [level for level in workers.LEVELS if works(level)]
NEW = (None,) if sys.platform != "linux" else (None, False)  # forked where that is the way here, and not
WAYS = [(level, forks) for level in LEVELS for forks in (NEW if level == "plain" else (None,))]


@pytest.fixture
def code(tmp_path):
    path = tmp_path / "exercise.py"
    path.write_text(CODE)
    return path


@pytest.fixture(params=WAYS, ids=lambda way: way[0] + (" anew" if way[1] is False else ""))
def start(request, code):
    with Zygote(*request.param) as zygote:
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
    with start(cpu_seconds=1, total_seconds=2 if function == "sleep" else 30) as worker:
        failure = worker.call(function, ())
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
        ways = 1 if worker.zygote.forks else 2  # a socket, or two pipes
        assert len(worker.call("handles", ())) == 3 + ways
        found = worker.call("environment", ())
    assert set(found) <= {"HOME", "TMPDIR", "PYTHONDONTWRITEBYTECODE", "LC_CTYPE"}


def test_the_scratch_folder_goes(start):
    with start() as worker:
        assert Path(worker.scratch).is_dir()
    assert not Path(worker.scratch).exists()


def test_a_worker_may_call_what_the_grader_runs(start):
    with start() as worker:
        assert worker.call_with("ask", {"f": lambda args, kwargs: {"value": args[0] * 10}}) == 50


def test_steps_are_seen(start):
    with start() as worker:
        assert dict(worker.steps("step", (4.0,))) == {"x": 4.0, "half": 2.0}


@needs_linux
def test_a_zygote_that_dies_is_replaced(code):
    with Zygote("plain") as zygote:
        with zygote.start(code):
            zygote.process.kill()
            zygote.process.wait()
        with zygote.start(code) as worker:
            assert worker.call("count", ()) == 1


@needs_linux
@pytest.mark.parametrize("forks", [True, False])
def test_a_daemon_is_reaped(code, forks):
    with Zygote("plain", forks) as zygote:
        with zygote.start(code) as worker:
            daemon = worker.call("daemon", ())
            if not forks and os.geteuid():  # whom the limit holds
                assert daemon.state == "failed"
                return
            assert alive(daemon)
        assert not alive(daemon)


def alive(pid):
    """Whether a process runs, and is not only waiting for somebody to ask how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@needs_linux
@pytest.mark.parametrize("level, forks", WAYS)
def test_nobody_lives_on_when_the_grader_is_killed(code, level, forks):
    script = f"""
from tinyllm.course.workers import Zygote
from tinyllm.course.zygote import descendants
with Zygote({level!r}, {forks}) as zygote, zygote.start({str(code)!r}, dict(cpu_seconds=30)) as worker:
    print(*descendants(), flush=True)
    worker.call("spin", ())
"""
    grader = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    left = {int(pid) for pid in grader.stdout.readline().split()}
    assert left
    grader.kill()
    grader.communicate()
    for _ in range(500):
        left = {pid for pid in left if alive(pid)}
        if not left:
            return
        time.sleep(0.02)
    raise AssertionError("a worker outlives its grader")


def test_a_worker_leaves_when_its_memory_is_used_up(monkeypatch):
    """As macOS has it, whose limits do not bound memory."""
    resource = pytest.importorskip("resource")
    used = iter([10, 20, 30, 40])
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(resource, "getrusage", lambda who: argparse.Namespace(ru_maxrss=next(used)))
    monkeypatch.setattr(os, "_exit", sys.exit)
    with pytest.raises(SystemExit):
        watch(os.getppid(), 30)
    assert list(used) == [40]


def test_a_worker_that_does_not_start_says_why(code, monkeypatch):
    monkeypatch.setattr("tinyllm.course.launch.SCRIPT", code.with_name("absent.py"))
    before = set(descendants())
    with Zygote("plain", False) as zygote, pytest.raises(UserError, match=r"does not start: .*absent\.py"):
        zygote.start(code)
    assert set(descendants()) == before


@needs_linux
@pytest.mark.parametrize("script, reason", [
    ("echo trouble >&2; echo bwrap: no leave for namespaces >&2; exit 1", "bwrap: no leave for namespaces"),
    ("exit 1", "it says nothing"),
    ('while [ "$1" != -I ]; do shift; done; exec "$PYTHON" "$@"', "can read what it should not"),
])  # fmt: skip
def test_bubblewrap_that_does_not_do_its_work_is_found_out(script, reason, tmp_path, monkeypatch):
    """Another program in its place: the level fails closed, with one line that says why."""
    path = tmp_path / "bwrap"
    path.write_text(f"#!/bin/sh\n{script}\n".replace("$PYTHON", sys.executable))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(sandbox, "landlock_version", lambda: 0)
    monkeypatch.setattr("tinyllm.course.launch.SCRIPT", loose_script(tmp_path))
    assert reason in why_not("bwrap")
    assert best_level() == "plain"
    for wanted, required in (("bwrap", False), ("bwrap", True), ("auto", True)):
        with pytest.raises(UserError, match=reason) as failure:
            choose_level(wanted, required)
        assert "\n" not in str(failure.value)


def loose_script(folder):
    """A copy of the worker's own side that leaves out its own fences."""
    here = Path(sandbox.__file__).parent
    for name in ("zygote.py", "wire.py", "sandbox.py"):
        (folder / name).write_text((here / name).read_text("utf-8"), "utf-8")
    with open(folder / "sandbox.py", "a", encoding="utf-8") as f:
        f.write("\ndef landlock(*a):\n    pass\n\ndef seccomp():\n    pass\n")
    return folder / "zygote.py"


BUBBLE = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
NO_BUBBLE = "bwrap is not installed" if shutil.which("bwrap") is None else (
    "bwrap may not make namespaces" if subprocess.run(BUBBLE, capture_output=True).returncode else "")


@pytest.mark.parametrize("level, missing", [
    ("landlock", "" if sandbox.landlock_version() else "no Landlock here"), ("bwrap", NO_BUBBLE),
])  # fmt: skip
def test_a_level_works_where_the_system_has_what_it_needs(level, missing):
    """Or the tests of that level would be skipped, and nobody would see why."""
    if missing:
        pytest.skip(missing)
    assert why_not(level) is None


@pytest.mark.skipif("bwrap" not in LEVELS, reason=f"bwrap: {why_not('bwrap')}")
def test_inside_bubblewrap_there_is_little_and_nothing_to_write(tmp_path, monkeypatch):
    """By its namespaces alone: Landlock and seccomp are left out."""
    code = tmp_path / "work" / "exercise.py"
    code.parent.mkdir()
    (tmp_path / "secret").write_text("secret")
    (code.parent / "helper.py").write_text("number = 7\n")
    code.write_text(INSIDE)
    monkeypatch.setattr("tinyllm.course.launch.SCRIPT", loose_script(tmp_path / "work"))
    with Zygote("bwrap") as zygote, zygote.start(code) as worker:
        assert worker.failure is None
        folders = ["/", "/tmp", "/dev", "/dev/shm", "/etc", "/var/tmp", str(Path(os.__file__).parent)]
        assert worker.call("writable", ([*folders, str(code.parent)],)) == []
        files = [str(tmp_path / "secret"), "/etc/passwd", tinyllm.__file__, pytest.__file__]
        assert worker.call("there", ([*files, str(code)],)) == [str(code)]
        assert worker.call("processes", ()) <= 3
        with socket.create_server(("127.0.0.1", 0)) as server:
            assert worker.call("connect", (server.getsockname()[1],)) == "refused"
    assert sorted(os.listdir(tmp_path)) == ["secret", "work"]


INSIDE = """
import os, socket
from helper import number
def writable(folders):
    found = []
    for folder in folders:
        try:
            open(os.path.join(folder, "planted"), "w").close()
            found.append(folder)
        except OSError:
            pass
    return found
def there(paths): return [path for path in paths if os.path.exists(path)]
def processes(): return len([name for name in os.listdir("/proc") if name.isdigit()])
def connect(port):
    try: socket.create_connection(("127.0.0.1", port), 1)
    except OSError: return "refused"
"""


def test_a_stalling_worker_has_one_deadline_for_all_calls(start):
    with start(total_seconds=1) as worker:
        assert worker.call("sleep", ()).state == "timed_out"
        assert isinstance(worker.steps("count", ()), Failure)


@pytest.mark.skipif("landlock" not in LEVELS, reason="no Landlock here")
def test_a_fenced_worker_cannot_start_threads(code):
    with Zygote("landlock") as zygote, zygote.start(code) as worker:
        assert worker.call("threads", ()).state == "failed"


def test_the_filter_is_well_formed():
    for machine, make in product(sandbox.MACHINES, (sandbox.seccomp_program, sandbox.frozen_program)):
        program = make(machine)
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
    assert best_level() == choose_level("auto") == LEVELS[0]
    reasons = {"landlock": "no", "bwrap": "no", "plain": None}
    for module in ("workers", "course.queue"):
        monkeypatch.setattr(f"tinyllm.course.{module}.why_not", reasons.get)
    assert choose_level("auto") == "plain"
    for wanted, required in (("landlock", False), ("bwrap", False), ("auto", True), ("plain", True)):
        with pytest.raises(UserError):
            choose_level(wanted, required)
    assert "stops accidents, not attackers" in isolation_words("plain")


@pytest.mark.parametrize("line, kept", [(3, 3), (0, None), (-1, None), (10**4000, None), (True, None)],
                         ids=["a line", "none", "negative", "huge", "a truth"])  # fmt: skip
def test_a_forged_line_is_none(line, kept):
    """A number of 4,000 digits would stand in results.json, where no other language can read it."""
    error = {"error": {"kind": "ValueError", "message": "x", "line": line}}
    assert workers._failure(error, "softmax", "time").line == kept


def test_printable():
    assert printable("a\x1b[2Jb\n\tc\u202e") == "a\N{REPLACEMENT CHARACTER}[2Jb c\N{REPLACEMENT CHARACTER}"
    assert len(printable("x" * 10**6)) == 400
