"""Check that hostile submissions get no points and have no effect outside the worker."""

import contextlib
import os
import re
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
from judged import descendants

import tinyllm
from tinyllm.course import kernels
from tinyllm.course.checker import judge_task
from tinyllm.course.drawing import properties
from tinyllm.course.reference_solution import solved
from tinyllm.course.syllabus import Exercise
from tinyllm.course.workers import Launcher, Worker, why_not

TEXT = Path(__file__).with_name("hostile").joinpath("attacks.txt").read_text("utf-8")
ATTACKS = dict(re.findall(r"(?ms)^#### (.+?)\n(.*?)(?=^#### |\Z)", TEXT))
IMPORTS = "import ctypes, gc, glob, json, os, signal, socket, struct, sys, time\nimport numpy as np\n"
HELPERS = """
def sockets():
    return [o for o in gc.get_objects() if isinstance(o, socket.socket) and o.fileno() > 0]
(sock,) = sockets()
def send(header, body=b""):
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    sock.sendall(struct.pack("<4sI", b"TLW1", len(data)) + data + body)
def got(action):
    try:
        action()
    except (OSError, ValueError):  # setrlimit raises the second
        return
    print("PWNED")
def called(number, *args):
    result = ctypes.CDLL(None).syscall(number, *args)
    if result >= 0:
        print("PWNED")
    return result
"""
SOFTMAX, SOFTMAX_C = Exercise("softmax", "softmax"), Exercise("softmax_c", "softmax", "c")
HEADERS = ["dlfcn", "signal", "stdint", "stdio", "stdlib", "string", "sys/socket", "unistd"]
C_HEAD = "#define _DEFAULT_SOURCE\n" + "".join(f"#include <{name}.h>\n" for name in HEADERS)
C_TAIL = """
void softmax(float *y, const float *x, long rows, long n) { first(); }
"""
ORDINARY = "correct results on ordinary numbers"
SHORT = {"memory": 3 * 2**27, "cpu_seconds": 1, "total_seconds": 5}
FENCED = pytest.mark.skipif(bool(why_not("landlock")), reason=f"landlock: {why_not('landlock')}")


class Canaries(contextlib.ExitStack):
    """A secret, a file, a process and two servers, to notice an attack that reads or changes them."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        self.secret, self.file = folder / "hidden_tests.py", folder / "grades.csv"
        self.secret.write_text("the answer is 42")
        self.file.write_text("student,points\n")
        self.process = self.enter_context(subprocess.Popen(["sleep", "1000"]))
        self.callback(self.process.kill)
        self.abstract = f"tinyllm-{os.getpid()}"
        self.servers = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)]
        self.servers[1].bind("\0" + self.abstract)
        for server in map(self.enter_context, self.servers):
            server.listen()
            server.setblocking(False)
        self.before = self.state()

    def callers(self):
        """Return the number of connections to the servers since the last call."""
        found = 0
        for server in self.servers:
            with contextlib.suppress(BlockingIOError):
                while server.accept():
                    found += 1
        return found

    def state(self):
        """Return the state of everything that an attack could have changed."""
        names = sorted(os.listdir(self.folder))
        stats = [os.stat(path) for path in (self.secret, self.file)]
        told = [(s.st_mode, s.st_uid, s.st_size, s.st_mtime_ns, s.st_nlink) for s in stats]
        planted = ("flood", "pwned", "results.json", "conftest")
        folders = ("/tmp", "/var/tmp", "/dev/shm")
        scratch = [name for f in folders for name in os.listdir(f) if name == "x" or name.startswith(planted)]
        library = sorted(p.name for p in Path(tinyllm.__file__).parent.iterdir() if p.name != "__pycache__")
        text = self.file.read_text()
        alive = self.process.poll() is None
        return names, told, text, alive, scratch, library

    def fill(self, attack):
        """Fill the names of the canaries into the text of an attack."""
        names = {
            "@SECRET": self.secret, "@FILE": self.file, "@PORT": self.servers[0].getsockname()[1],
            "@ABSTRACT": self.abstract, "@PID": self.process.pid, "@GRADER": os.getpid(),
            "@LIBRARY": Path(tinyllm.__file__).parent, "@NUMPY": np._core.multiarray.__file__,
        }
        for name, value in names.items():
            attack = attack.replace(name, str(value))
        return attack


@pytest.fixture(scope="module")
def canaries(tmp_path_factory):
    with Canaries(tmp_path_factory.mktemp("canaries")) as found:
        yield found


def test_every_attack_that_the_code_names_is_tried():
    code = [re.sub(r"\n\s*#?\s*", " ", path.read_text("utf-8"))  # a comment may have several lines
            for path in Path(tinyllm.__file__).parent.rglob("*.py")]
    named = {name for text in code for some in re.findall(r"\(hostile: (.+?)\)", text)
             for name in some.split("; ")}
    assert len(ATTACKS) >= 60 and len(named) > 20
    assert named <= set(ATTACKS)


def write(folder, name, text):
    """Write an attack as an exercise, and return its path."""
    (folder / "exercise.py").touch()
    path = folder / ("exercise.c" if name.startswith("C: ") else "exercise.py")
    helped = re.search(r"\b(?:send|sock|sockets|got|called)\b", text)
    in_python = f"{IMPORTS}{HELPERS if helped else ''}{text}"
    path.write_text(f"{C_HEAD}{text}{C_TAIL}" if name.startswith("C: ") else in_python, "utf-8")
    if path.suffix == ".c" and not kernels.find_compiler():
        pytest.skip("needs a C compiler")
    return path


def attacked(launcher, path, monkeypatch):
    """Judge a file, and return the verdict and all that its workers printed."""
    workers, begin = [], Worker.__init__
    monkeypatch.setattr(Worker, "__init__", lambda self, *args: workers.append(self) or begin(self, *args))
    task = SOFTMAX_C if path.suffix == ".c" else SOFTMAX
    code = path.with_suffix(".py")
    verdict = judge_task(task, lambda: launcher.start(code, SHORT), path.parent, count=12)
    return verdict, b"".join(bytes(worker.output) for worker in workers).decode("utf-8", "replace")


@FENCED
@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_is_stolen_and_nothing_is_touched(name, canaries, launcher, tmp_path, monkeypatch):
    path = write(tmp_path, name, canaries.fill(ATTACKS[name]))
    before, files = set(descendants()), sorted(os.listdir(tmp_path))
    verdict, output = attacked(launcher, path, monkeypatch)
    assert set(descendants()) == before  # no process is left
    assert verdict.state in ("failed", "not_attempted", "timed_out", "blocked"), verdict
    count = len(kernels.cases(SOFTMAX_C, 12) if path.suffix == ".c" else properties("softmax", 12))
    assert ORDINARY not in verdict.held and len(verdict.held) + len(verdict.broken) == count
    assert "PWNED" not in output and "the answer is 42" not in output
    assert verdict.message.isprintable() and len(verdict.message) <= 400
    assert "does not compile" not in verdict.message
    assert sorted(os.listdir(tmp_path)) == files
    assert canaries.state() == canaries.before and not canaries.callers()


@FENCED
def test_the_next_student_does_not_suffer(launcher, tmp_path, monkeypatch):
    """Judge a right answer after the attacks, on the same server."""
    (tmp_path / "exercise.py").write_text(solved(SOFTMAX), "utf-8")
    assert attacked(launcher, tmp_path / "exercise.py", monkeypatch)[0].state == "passed"


@pytest.mark.parametrize("name", [
    "hidden tests", "a connection out", "a file system that fills up", "C: hidden tests",
])
def test_without_the_fences_the_attacks_work(name, canaries, tmp_path, monkeypatch):
    """Run some attacks without the sandbox: they succeed, so it is the sandbox that stops them."""
    text = canaries.fill(ATTACKS[name]).replace('(".", "/tmp", "/var/tmp", "/dev/shm")', '(".",)')
    path = write(tmp_path, name, text.replace("range(100)", "range(1)"))
    with Launcher("plain") as plain:
        verdict, output = attacked(plain, path, monkeypatch)
    assert "PWNED" in output and verdict.state != "passed"
    assert bool(canaries.callers()) == (name == "a connection out")
