"""Call a student's functions in worker processes, with limits on time.

`Launcher` starts workers at one level of isolation. A `Worker` runs a student's file and answers `call` with
a value or a `Failure`. This process continues, whatever the student's code does.

The limit is on processor time, which does not depend on other work on the machine. A sleeping worker uses no
processor time, so on Linux the worker is inspected every quarter of a second. If it was asleep at several
inspections (ASLEEP) while an answer was due, its time is up. A worker that is ready to run but gets no
processor does not count as asleep. Much larger limits in real time catch all other cases, also on systems
where sleep cannot be seen.
"""

import functools
import math
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyllm.course import protocol, sandbox
from tinyllm.course.fork_server import asleep
from tinyllm.course.processes import GONE, OUT_OF_TIME, OUTPUT, ForkServer, Spawner, running
from tinyllm.errors import UserError

LEVELS = ("landlock", "plain")  # the strongest first
SEND_SECONDS = 60  # by the clock, until a worker has received a request
ASLEEP = 20  # inspections, 1/4 s apart: 5 s in a worker's life (hostile: a wait without end, for nobody)
USED_UP = "it and the exercises before it used up the time for a whole submission"
MAX_STEPS = 64  # variables of a function that are looked at
MAX_OUTPUT = 20_000  # bytes of what a student prints (hostile: output without end)
STATES = {  # kind of error -> state of the exercise; any other error means failed
    "NotImplementedError": "not_attempted", "PermissionError": "blocked", "ModuleNotFoundError": "blocked",
}
WORDS = {"not_attempted": "not attempted", "timed_out": "timed out"}  # state -> its name, if another
LIMITS = {  # of a worker, which tests one property; total_seconds is by the clock, for its whole life
    "memory": 2**31, "cpu_seconds": 20, "file_size": 2**24, "files": 64, "total_seconds": 300,
    "call_seconds": 0,  # of processor time, for each call and for running the file; 0: no such limit
}
SPAWNED_SECONDS = 60  # by the clock, for a plain subprocess, whose sleep cannot be seen


@dataclass(frozen=True)
class Failure:
    """The reason why there is no value. state: failed, timed_out, not_attempted, or blocked (forbidden)."""

    state: str
    message: str
    line: int | None = None


def best_level() -> str:
    """Return the strongest level of isolation that works here: landlock or plain."""
    return next(level for level in LEVELS if why_not(level) is None)


def isolation_words(level: str) -> str:
    """Describe a level of isolation in a sentence for reports."""
    if level == "plain":
        return "isolation: plain (fresh processes, deadlines): stops accidents, not attackers"
    files = "the student's and Python's; of others only names and sizes"
    return f"isolation: {level} (no network or processes; files: {files})"


def plain_words() -> str:
    """Describe the limits of the plain level on this system, in a few words."""
    if sys.platform == "win32":
        return "a process with a time limit; memory, the network and files are open"
    return "bounds of memory, processor time and file sizes; the network and files are open"


@functools.cache
def why_not(level: str) -> str | None:
    """Test a level of isolation; return a sentence that says why it does not work here, or None."""
    if level == "plain":
        return None
    if sys.platform != "linux":
        return "it needs Linux"
    if sandbox.landlock_version() < 1:
        return "this kernel has no Landlock"
    with tempfile.TemporaryDirectory() as folder:
        secret, code = Path(folder, "secret"), Path(folder, "code", "exercise.py")
        secret.write_text("secret")
        code.parent.mkdir()
        code.write_text("def read(path):\n    return open(path).read()\n\ndef one():\n    return 1\n")
        try:
            with Launcher(level) as launcher, launcher.start(code) as worker:
                refused = worker.call("read", (str(secret),))
                if worker.call("one", ()) != 1:
                    return worker.failure.message if worker.failure else "a worker gives wrong answers"
                return None if isinstance(refused, Failure) else "a worker can read what it should not"
        except (OSError, UserError, protocol.ProtocolError, protocol.Closed) as error:
            return printable(error)


class Launcher:
    """A context manager that starts workers, one after another. Use it in one thread only.

    forks: True if a server forks the workers, as on Linux; otherwise each worker is a plain subprocess.
    cpu_seconds: processor time for all workers and this process together; calls fail when it is used up.
    """

    def __init__(self, level, forks=sys.platform == "linux", cpu_seconds=math.inf):
        self.level, self.forks, self.cpu_seconds = level, forks, cpu_seconds
        self.server, self.cpu = None, -time.process_time()  # its time so far, negative; workers' are added

    def __enter__(self):
        self.server = ForkServer() if self.forks else Spawner()
        return self

    def __exit__(self, *exc):
        self.server.close()

    def start(self, code: str | Path, limits: dict[str, float] | None = None) -> "Worker":
        """Start a worker for a student's file. If the file itself fails, the worker has a `failure`."""
        return Worker(self, Path(code).resolve(), LIMITS | (limits or {}))

    def used(self) -> float:
        """Return the seconds of processor time that this process and all workers have used."""
        return self.cpu + time.process_time() + running()

    def is_used_up(self) -> bool:
        """Return True if this process and its ended workers have used up all their processor time."""
        return self.cpu + time.process_time() > self.cpu_seconds

    def launch(self, request: dict[str, Any]) -> tuple[socket.socket, int]:
        """Start a process; return its socket and id. If the server has died, start it again first."""
        try:
            return self.server.start(request)
        except GONE:
            self.server.close()
            self.server = ForkServer()
            return self.server.start(request)


class Worker:
    """A fresh process that runs functions of a student's file, and ends with the `with` block.

    After the block, `output` contains the first bytes that the student's code printed.
    """

    def __init__(self, launcher, code, limits):
        self.launcher, self.limits, self.failure = launcher, limits, None
        if not launcher.forks:
            limits["total_seconds"] = min(limits["total_seconds"], SPAWNED_SECONDS)
        self.deadline = time.monotonic() + limits["total_seconds"]
        self.sock, self.child, self.looks, self.output = None, None, 0, b""
        self.scratch = tempfile.mkdtemp(prefix="tinyllm-")
        # Kept open, because a worker may put a pipe or a link in its place.
        self.printed = os.open(Path(self.scratch, OUTPUT), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        of_the_system = {name: limits[name] for name in ("memory", "cpu_seconds", "file_size", "files")}
        request = {
            "code": str(code), "folder": self.scratch, "level": launcher.level,
            "limits": of_the_system, "call_seconds": limits["call_seconds"],
        }
        try:
            self.sock, self.child = launcher.launch(request)
            answer = self._receive()
            if not (isinstance(answer, dict) and "ready" in answer):
                self.failure = self._failed(answer, "the file")
        except BaseException:  # for example an interrupt: nobody else would end the process
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._end(patience=0)
        if self.printed is not None:
            self.output = os.read(self.printed, MAX_OUTPUT)
            os.close(self.printed)
            self.printed = None
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _end(self, patience):
        """Kill the process -> the signal that had already ended it."""
        if self.child is None:
            return None
        self.sock.close()
        ended = self.launcher.server.end(self.child, patience)
        self.child = None
        self.launcher.cpu += ended["cpu"]
        return ended["signal"]

    def call(self, function: str, args: Sequence[Any], send_args: bool = False,
             names: Sequence[str] = ()) -> Any:
        """Call a function of the file, and return its value or a Failure.

        With `send_args` the result is (value, the arguments after the call). With `names` the arguments are
        passed by keyword.
        """
        message: dict[str, Any] = {"function": function, "args": list(args)}
        message |= {"send_args": True} if send_args else {}
        message |= {"names": list(names)} if names else {}
        answer = self._ask(message)
        if isinstance(answer, dict) and "value" in answer:
            return (answer["value"], answer.get("args")) if send_args else answer["value"]
        return self._failed(answer, function)

    def call_with(self, function: str, remotes: dict[str, Callable[..., Any]], limit: int = 2000) -> Any:
        """Call a function whose arguments are functions of this process; return its value or a Failure.

        remotes: {name: function of (args, kwargs) that returns a reply for `fork_server.remote`}. At most
        `limit` calls are answered, in at most as much processor time as the worker itself may use.
        """
        message = {"function": function, "args": [], "remote": list(remotes)}
        begun, seconds = time.process_time(), self.limits["call_seconds"] or self.limits["cpu_seconds"]
        for _ in range(limit + 1):
            if time.process_time() - begun > seconds:
                break
            answer = self._ask(message)
            if isinstance(answer, dict) and "value" in answer:
                return answer["value"]
            name, args, kwargs = asked(answer)
            if name not in remotes:
                return self._failed(answer, function)
            message = remotes[name](args, kwargs)
        self.failure = Failure("timed_out", f"{function} calls more than {limit:,} times, or too long")
        return self.failure

    def steps(self, function: str, args: Sequence[Any]) -> list[tuple[str, Any]] | Failure:
        """Call a function; return (name, value) of its local variables at its end, or a Failure."""
        answer = self._ask({"function": function, "args": list(args), "steps": True})
        steps = answer.get("steps") if isinstance(answer, dict) else None
        if not isinstance(steps, list) or len(steps) > MAX_STEPS:
            return self._failed(answer, function)
        if any(not isinstance(step, tuple) or len(step) != 2 for step in steps):
            return self._failed(answer, function)
        return steps

    def _failed(self, answer, what):
        """Turn an answer into a Failure; after an unreadable answer all later calls fail too."""
        if isinstance(answer, Failure):
            return answer
        failure = _failure(answer, what, self._after(answer))
        if not (isinstance(answer, dict) and ("error" in answer or "missing" in answer)):
            self.failure = failure
        return failure

    def _after(self, answer):
        """Return how the call ran out of time, such as "ran for more than 2 seconds"."""
        if self.looks >= ASLEEP:
            return "waits without an end, and computes nothing"
        seconds, of = self.limits["total_seconds"], ""
        if isinstance(answer, Died):
            seconds, of = self.limits[OUT_OF_TIME.get(answer.signal, "cpu_seconds")], " of processor time"
        return f"ran for more than {seconds:g} second{'s' * (seconds != 1)}{of}. Is there an endless loop?"

    def _ask(self, message):
        """Send a request and wait for the answer -> the answer, or an error for `_failed`."""
        if not self.failure and self.launcher.is_used_up():
            self.failure = Failure("timed_out", USED_UP)
        return self.failure or self._talk(protocol.send, message, SEND_SECONDS) or self._receive()

    def _receive(self):
        return self._talk(protocol.receive, max(self.deadline - time.monotonic(), 0))

    def _talk(self, send_or_receive, *args):
        """Send or receive over the socket -> the value received, an exception, or Died."""
        was_asleep = False

        def idle():  # an answer between two inspections shows that the worker was not asleep
            nonlocal was_asleep
            self.looks += was_asleep
            was_asleep = asleep(self.child)
            return self.looks >= ASLEEP

        try:
            return send_or_receive(self.sock, *args, idle)
        except protocol.Closed:
            return Died(self._end(patience=200))
        except (protocol.ProtocolError, TimeoutError, OSError) as error:
            return error


def asked(answer: Any) -> tuple[Any, Any, Any]:
    """Return (name, args, kwargs) of a worker's request for a call, or (None, None, None) if invalid."""
    if not isinstance(answer, dict):
        return None, None, None
    name, args, kwargs = (answer.get(key) for key in ("ask", "args", "kwargs"))
    if not (isinstance(name, str) and isinstance(args, list) and isinstance(kwargs, dict)):
        return None, None, None
    return (name, args, kwargs) if all(isinstance(key, str) for key in kwargs) else (None, None, None)


@dataclass(frozen=True)
class Died:
    """The worker died instead of answering. signal: what ended it; 0 if it exited itself, None if unknown."""

    signal: int | None


def _failure(answer, what, after):
    """Turn an answer without a value into a Failure of the function `what`, with `after` if time ran out."""
    if isinstance(answer, TimeoutError) or (isinstance(answer, Died) and answer.signal in OUT_OF_TIME):
        return Failure("timed_out", f"{what} {after}")
    if isinstance(answer, Died):
        by = "a crash, an exit, or too much memory"
        if answer.signal:
            by = signal.strsignal(answer.signal) or f"signal {answer.signal}"
        elif answer.signal == 0:
            by = "it called for an exit"
        return Failure("failed", f"the process that ran {what} ended: {by}")
    if isinstance(answer, dict) and isinstance(answer.get("missing"), str):
        return Failure("not_attempted", f"there is no function {what} in the file")
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return Failure("failed", f"the answer of {what} cannot be read")
    kind, message, line = (error.get(key) for key in ("kind", "message", "line"))
    state = STATES.get(kind, "failed") if isinstance(kind, str) else "failed"
    known = type(line) is int and 0 < line < 2**20  # reject absurd line numbers from the worker
    return Failure(state, printable(without_scratch(f"{kind}: {message}")), line if known else None)


def without_scratch(text: str) -> str:
    """Return a message without the paths of temporary folders, which change with every run."""
    top = tempfile.gettempdir()
    for path in sorted({top, os.path.realpath(top)}, key=len, reverse=True):  # macOS has two names for it
        text = re.sub(re.escape(path) + r"[/\\]+tinyllm-\w*[/\\]*", "", text)
    return text


def printable(text: object, limit: int = 400) -> str:
    """Return a student's text as one line without control characters, safe for terminals and reports."""
    line = " ".join(str(text)[: 4 * limit].split())[:limit]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
