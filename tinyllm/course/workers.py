"""Call a student's functions in worker processes, with limits on time.

`Launcher` starts workers at one level of isolation. A `Worker` runs a student's file and answers `call` with
a value or a `Failure`. This process continues, whatever the student's code does.

The limit is on processor time, which does not depend on other work on the machine. A larger limit by the
clock ends a worker that sleeps (hostile: a wait without end, for nobody).
"""

import contextlib
import functools
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyllm.course import protocol, sandbox
from tinyllm.course.fork_server import MAX_STEPS, OUTPUT
from tinyllm.course.processes import OUT_OF_TIME, ForkServer, Spawner
from tinyllm.errors import UserError

LEVELS = ("landlock", "plain")  # the strongest first
SEND_SECONDS = 60  # by the clock, until a worker has received a request
MAX_OUTPUT = 20_000  # bytes of what a student prints (hostile: output without end)
STATES = {  # kind of error -> state of the exercise; any other error means failed
    "NotImplementedError": "not_attempted", "PermissionError": "blocked", "ModuleNotFoundError": "blocked",
}
WORDS = {"not_attempted": "not attempted", "timed_out": "timed out",  # state -> its words in messages
         "not_graded": "not graded"}
LIMITS = {  # of a worker, which tests one property; total_seconds is by the clock, for its whole life
    "memory": 2**31, "cpu_seconds": 20, "file_size": 2**24, "files": 64, "total_seconds": 200,
    "call_seconds": 0,  # of processor time, for each call and for running the file; 0: no such limit
}


@dataclass(frozen=True)
class Failure:
    """The reason why a call gave no value. state: failed, timed_out, not_attempted, blocked (forbidden)."""

    state: str
    message: str
    line: int | None = None


def best_level() -> str:
    """Return the strongest level of isolation that works here. Raises UserError on Windows: none does."""
    if sys.platform == "win32":
        raise UserError("exercises are tried on Linux and macOS; on Windows, in its Linux (`wsl --install`)")
    return next(level for level in LEVELS if why_not(level) is None)


def isolation_words(level: str) -> str:
    """Describe a level of isolation in a sentence for reports."""
    if level == "plain":
        return "isolation: plain (fresh processes, deadlines): stops accidents, not attackers"
    files = "the student's and Python's; of others only names and sizes"
    return f"isolation: {level} (no network or processes; files: {files})"


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
    """

    def __init__(self, level, forks=sys.platform == "linux"):
        self.level, self.forks = level, forks
        self.server, self.running = None, set()  # running: process ids of workers
        self.cpu = -time.process_time()  # minus the time before the start; ended workers' times are added

    def __enter__(self):
        self.server = ForkServer() if self.forks else Spawner()
        return self

    def __exit__(self, *exc):
        self.server.close()

    def start(self, code: str | Path, limits: dict[str, float] | None = None) -> "Worker":
        """Start a worker for a student's file. If the file itself fails, the worker has a `failure`."""
        return Worker(self, Path(code).resolve(), LIMITS | (limits or {}))

    def used(self) -> float:
        """Return the seconds of processor time that this process and all workers used since the start."""
        seconds = self.cpu + time.process_time()
        for pid in self.running:
            with contextlib.suppress(OSError, AttributeError):  # it has ended, or there is no such clock
                seconds += time.clock_gettime(~pid << 3 | 2)  # see clock_getcpuclockid(3)
        return seconds


class Worker:
    """A fresh process that runs functions of a student's file, and ends with the `with` block.

    failure: why no more calls can be answered, or None.
    output: after the block, the first bytes that the student's code printed.
    """

    def __init__(self, launcher, code, limits):
        self.launcher, self.limits, self.failure = launcher, limits, None
        self.deadline = time.monotonic() + limits["total_seconds"]
        self.sock, self.child, self.output = None, None, b""
        self.scratch = tempfile.mkdtemp(prefix="tinyllm-")
        # Kept open, because a worker may put a pipe or a link in its place.
        self.printed = os.open(Path(self.scratch, OUTPUT), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        of_the_system = {name: limits[name] for name in ("memory", "cpu_seconds", "file_size", "files")}
        request = {
            "code": str(code), "folder": self.scratch, "level": launcher.level,
            "limits": of_the_system, "call_seconds": limits["call_seconds"],
        }
        try:
            self.sock, self.child = launcher.server.start(request)
            launcher.running.add(self.child)
            answer = self._ask(None, "the file", "ready")
            self.failure = answer if isinstance(answer, Failure) else None
        except BaseException:  # also after Ctrl-C, as nothing else would end the process
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._end()
        if self.printed is not None:
            self.output = os.read(self.printed, MAX_OUTPUT)
            os.close(self.printed)
            self.printed = None
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _end(self):
        """End the process -> the signal that had already ended it; 0 if it exited, None if unknown."""
        if self.child is None:
            return None
        self.sock.close()
        child, self.child = self.child, None
        ended = self.launcher.server.end(child)
        self.launcher.running.discard(child)
        self.launcher.cpu += ended["cpu"]
        return ended["signal"]

    def call(self, function: str, args: Sequence[Any], send_args: bool = False,
             names: Sequence[str] = ()) -> Any:
        """Call a function of the file, and return its value or a Failure.

        With `send_args` the result is (value, the arguments after the call). With `names` the arguments are
        passed by keyword.
        """
        message = {"function": function, "args": list(args), "send_args": send_args, "names": list(names)}
        answer = self._ask(message, function, "value")
        if isinstance(answer, Failure):
            return answer
        return (answer["value"], answer.get("args")) if send_args else answer["value"]

    def call_with(self, function: str, remotes: dict[str, Callable[..., Any]], limit: int = 2000) -> Any:
        """Call a function whose arguments are functions of this process; return its value or a Failure.

        remotes: {name: function of (args, kwargs) that returns a reply for `fork_server.remote`}. At most
        `limit` calls are answered, in at most as much processor time as the worker itself may use.
        """
        message = {"function": function, "args": [], "remote": list(remotes)}
        begun, seconds = time.process_time(), self.limits["call_seconds"] or self.limits["cpu_seconds"]
        for _ in range(limit + 1):
            if (used := time.process_time() - begun) > seconds:
                break
            answer = self._ask(message, function, "value", "ask")
            if isinstance(answer, Failure):
                return answer
            if "value" in answer:
                return answer["value"]
            name, args, kwargs = (answer.get(key) for key in ("ask", "args", "kwargs"))
            well_formed = isinstance(name, str) and isinstance(args, list) and isinstance(kwargs, dict)
            if not (well_formed and name in remotes and all(isinstance(key, str) for key in kwargs)):
                return self._unreadable(function)
            message = remotes[name](args, kwargs)
        most = f"{limit:,} times" if used <= seconds else f"{seconds:g} seconds of processor time can answer"
        self.failure = Failure("timed_out", f"{function} calls more than {most}: test fewer, smaller inputs")
        return self.failure

    def steps(self, function: str, args: Sequence[Any]) -> list[tuple[str, Any]] | Failure:
        """Call a function; return (name, value) of what its variables held, or a Failure."""
        answer = self._ask({"function": function, "args": list(args), "steps": True}, function, "steps")
        if isinstance(answer, Failure):
            return answer
        steps = answer["steps"]
        is_list = isinstance(steps, list) and len(steps) <= MAX_STEPS
        if not is_list or any(not isinstance(step, tuple) or len(step) != 2 for step in steps):
            return self._unreadable(function)
        return steps

    def _ask(self, message, what, *wanted):
        """Send a message about `what` (a function, or the file) unless it is None, and wait for the answer.

        Return the answer, a dict with one of the `wanted` keys, or a Failure. After an error that the
        student's code raised, the worker goes on; after any other failure, all later calls fail too.
        """
        if self.failure:
            return self.failure
        try:
            if message:
                protocol.send(self.sock, message, SEND_SECONDS)
            answer = protocol.receive(self.sock, max(self.deadline - time.monotonic(), 0))
        except protocol.Closed:
            self.failure = death(what, self._end(), self.limits)
        except TimeoutError:
            self.failure = too_long(what, self.limits["total_seconds"])
        except (protocol.ProtocolError, OSError):
            self._unreadable(what)
        else:
            if isinstance(answer, dict) and any(key in answer for key in wanted):
                return answer
            return raised(what, answer) or self._unreadable(what)
        return self.failure

    def _unreadable(self, what):
        self.failure = Failure("failed", f"the answer of {what} cannot be read")
        return self.failure


def death(what: str, number: int | None, limits: dict[str, float]) -> Failure:
    """Return the Failure of a worker that died. number: the signal; 0 if it exited, None if unknown."""
    if number in OUT_OF_TIME:
        return too_long(what, limits[OUT_OF_TIME[number]], of=" of processor time")
    by = "a crash, an exit, or too much memory"
    if number is not None:
        by = (signal.strsignal(number) or f"signal {number}") if number else "it called for an exit"
    return Failure("failed", f"the process that ran {what} ended: {by}")


def too_long(what: str, seconds: float, of: str = "") -> Failure:
    """Return the Failure of a worker whose time is up."""
    limit = f"{seconds:g} second{'s' * (seconds != 1)}{of}"
    return Failure("timed_out", f"{what} ran for more than {limit}. Is there an endless loop?")


def raised(what: str, answer: Any) -> Failure | None:
    """Return the Failure for the error that an answer reports; None for an answer without one."""
    found = answer if isinstance(answer, dict) else {}
    if isinstance(found.get("missing"), str):
        other = f"; there is {printable(found['near'], 60)}: is it meant?" if found.get("near") else ""
        return Failure("not_attempted", f"there is no function {what} in the file{other}")
    if not isinstance(found.get("error"), dict):
        return None
    kind, message, line = (found["error"].get(key) for key in ("kind", "message", "line"))
    state = STATES.get(kind, "failed") if isinstance(kind, str) else "failed"
    known = type(line) is int and 0 < line < 2**20  # reject absurd line numbers from the worker
    return Failure(state, printable(without_scratch(f"{kind}: {message}")), line if known else None)


def without_scratch(text: str) -> str:
    """Return a message without the paths of temporary folders, which change with every run."""
    top = tempfile.gettempdir()
    for path in sorted({top, os.path.realpath(top)}, key=len, reverse=True):  # macOS has two names for it
        text = re.sub(re.escape(path) + r"[/\\]+tinyllm-\w*[/\\]*", "", text)
    return text


def printable(text: object, limit: int = 400, keep: str = "") -> str:
    """Return a text as one line without control characters, except those in `keep`: safe for terminals."""
    line = " ".join(str(text)[: 4 * limit].split())[:limit]
    return "".join(c if c.isprintable() or c in keep else "\N{REPLACEMENT CHARACTER}" for c in line)
