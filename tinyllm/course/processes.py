"""Start worker processes: forked by a server on Linux, each a plain subprocess elsewhere.

A forked worker costs a millisecond, can stand behind fences, and leaves nothing behind: the server is the
parent of all that it starts. A plain subprocess is for a student's own `check` on macOS, where a process that
has used NumPy must not fork, and on Windows, which has no fork: it costs the import of numpy, and a limit by
the clock ends it. What it starts itself is not followed.
"""

import contextlib
import glob
import os
import secrets
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinyllm.course import protocol
from tinyllm.course.fork_server import asleep, descendants, used
from tinyllm.errors import UserError

INSTALLED = ("site-packages", "dist-packages")  # what in Python's library is not Python's
SCRIPT = Path(__file__).with_name("fork_server.py")
START_SECONDS = 60  # by the clock, for a process of ours to be there
OUT_OF_TIME = getattr(signal, "SIGXCPU", -1)  # what died of this has used up its processor time


def python_command(where: str) -> tuple[list[str], dict[str, str]]:
    """Return the command that starts fork_server.py, and its environment; where: as that file says."""
    command = [sys.executable, "-I", "-S", "-u"]  # -u: what is printed is not lost in a crash
    environment = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PATH": os.defpath}
    if "SYSTEMROOT" in os.environ:  # Windows starts nothing without it
        environment["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
    return [*command, str(SCRIPT), where, str(Path(np.__file__).parents[1])], environment


def readable_paths() -> list[str]:
    """Return what a worker may read: Python's library without installed packages, numpy, shared libraries."""
    base, found = {"base": sys.base_prefix, "installed_base": sys.base_prefix}, set()
    for folder in {sysconfig.get_path(name, vars=base) for name in ("stdlib", "platstdlib")}:
        found |= {entry.path for entry in os.scandir(folder) if entry.name not in INSTALLED}
    numpy_folder = Path(np.__file__).parent
    found |= {str(numpy_folder), str(numpy_folder.parent / "numpy.libs")}
    for pattern in ("/lib/*-linux-*", "/usr/lib/*-linux-*", "/lib64", "/usr/lib64", "/etc/ld.so.cache",
                    f"{sys.base_prefix}/lib/libpython*"):  # fmt: skip
        found |= set(glob.glob(pattern))
    return sorted(path for path in found if os.path.exists(path))


class ForkServer:
    """The grader's side of fork_server.py. Raises UserError where that process does not start."""

    def __init__(self):
        ours, theirs = socket.socketpair()
        command, environment = python_command(str(theirs.fileno()))
        self.process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env=environment, start_new_session=True,
        )  # fmt: skip
        theirs.close()
        self.control = ours
        try:
            protocol.receive(ours, START_SECONDS)
        except (protocol.Closed, TimeoutError, protocol.ProtocolError):
            self.close()
            raise UserError("the worker process does not start; `tinyllm doctor` may say why") from None

    def close(self) -> None:
        """End the server, and with it all workers."""
        self.control.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def request(self, message: dict[str, Any], fds: Sequence[int] = ()) -> Any:
        """Send a request -> the answer, if there is one. Raises Closed, ProtocolError or OSError."""
        protocol.send(self.control, message, 10)
        if fds:
            return socket.send_fds(self.control, [b"f"], fds)
        return protocol.receive(self.control, 60)


class Forked:
    """A worker that the server has forked. `sock` leads to it, `output` is what it prints."""

    def __init__(self, server, request):
        self.server, self.cpu = server, 0.0
        self.sock, theirs = socket.socketpair()
        reading, writing = os.pipe()
        self.output = os.fdopen(reading, "rb", 0)
        try:
            server.request(request | {"do": "start"}, [theirs.fileno(), writing])
        finally:
            theirs.close()
            os.close(writing)

    def end(self, patience: int) -> int | None:
        """Kill the worker and all that it has started -> the signal that had ended it, as `fork_server.end`.

        patience: milliseconds to wait for one that is about to end by itself. `cpu` is then what it has used.
        """
        self.sock.close()
        try:
            answer = self.server.request({"do": "end", "patience": patience})
        except (protocol.Closed, protocol.ProtocolError, OSError):
            return None  # the server has died, and everything with it
        self.cpu = answer["cpu"]
        return answer["signal"]

    def asleep(self) -> bool:
        """Return True if all threads of the worker sleep at this moment."""
        return asleep(descendants(self.server.process.pid))


class Spawned:
    """A worker that is a plain subprocess, used as `Forked` is. Raises UserError where it does not start."""

    def __init__(self, request):
        token, self.cpu, self.sock = secrets.token_hex(16), 0.0, None
        with socket.create_server(("127.0.0.1", 0)) as door:
            command, environment = python_command(f"{door.getsockname()[1]}:{token}")
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                bufsize=0, env=environment,
            )  # fmt: skip
            self.output = self.process.stdout
            try:
                self.sock = self._let_in(door, token)
                protocol.receive(self.sock, START_SECONDS)
                protocol.send(self.sock, request, START_SECONDS)
            except (OSError, protocol.Closed, protocol.ProtocolError):
                self.end(0)
                said = self.output.read(4000).decode("utf-8", "replace").strip().split("\n")[-1]
                self.output.close()
                raise UserError(f"the worker process does not start: {said or 'it says nothing'}") from None

    def _let_in(self, door, token):
        """Accept the connection of this process and of no other -> its socket. Raises OSError."""
        door.settimeout(0.25)
        for _ in range(4 * START_SECONDS):
            with contextlib.suppress(TimeoutError):
                sock, _ = door.accept()
                sock.settimeout(START_SECONDS)
                if sock.recv(len(token), socket.MSG_WAITALL) == token.encode():
                    return sock
                sock.close()
            if self.process.poll() is not None:
                break
        raise OSError("nobody has called")

    def end(self, patience: int) -> int | None:
        """End the process -> the signal that it had died of, as `Forked.end`."""
        code, before = None, used()
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(patience / 1000)
        self.process.kill()
        self.process.wait()
        self.cpu += used() - before
        if self.sock:
            self.sock.close()
        return code if code is None else max(-code, 0)

    def asleep(self) -> bool:
        """Return False: sleep is not observed here, and the limit by the clock ends the worker."""
        return False

