"""Start and end worker processes: forks of a server on Linux, plain subprocesses on other systems.

A forked worker starts in a few milliseconds. A new process that imports NumPy takes a tenth of a second, and
a grading would take twice as long. Plain subprocesses are for macOS, where a process that has used NumPy must
not fork.
"""

import contextlib
import ctypes
import glob
import os
import signal
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np

from tinyllm.course import fork_server, protocol
from tinyllm.errors import UserError
from tinyllm.files import read_bytes

INSTALLED = ("site-packages", "dist-packages")  # folders in Python's library with installed packages
SCRIPT = Path(__file__).with_name("fork_server.py")
START_SECONDS = 60  # by the clock, until a new process must be ready
GONE = (protocol.Closed, protocol.ProtocolError, OSError)  # raised when the other process has died
# The signals that end a process when a limit of processor time is reached -> the limit's name in LIMITS.
OUT_OF_TIME = {getattr(signal, "SIGPROF", -1): "call_seconds", getattr(signal, "SIGXCPU", -2): "cpu_seconds"}


def start_python(first: Any, output: str | Path) -> tuple[subprocess.Popen, socket.socket]:
    """Start fork_server.py; return the process and a socket to it.

    first: its first message. output: the file for what it prints. Raises UserError if it does not start.
    """
    ours, theirs = socket.socketpair()
    environment = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PATH": os.defpath}
    command = [sys.executable, "-I", "-S", "-u"]  # -u: what is printed is not lost in a crash
    command += [str(SCRIPT), str(Path(np.__file__).parents[1]), str(theirs.fileno())]
    with theirs, open(output, "ab") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment,
            pass_fds=[theirs.fileno()], start_new_session=True,
        )
    try:
        protocol.receive(ours, START_SECONDS)
        protocol.send(ours, first, START_SECONDS)
    except GONE:
        ours.close()
        process.kill()
        process.wait()
        last = "" if output == os.devnull else read_bytes(output).decode("utf-8", "replace")
        reason = last.strip().split("\n")[-1] or "`tinyllm doctor` may say why"
        raise UserError(f"the worker process does not start: {reason}") from None
    return process, ours


def use_one_thread() -> None:
    """Let NumPy multiply matrices on one thread, because waiting threads make small products slow.

    OpenBLAS, which is part of NumPy's wheels, reads OPENBLAS_NUM_THREADS only when it is loaded. Other builds
    of NumPy keep their threads.
    """
    for path in Path(np.__file__).parents[1].glob("numpy.libs/*openblas*"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(str(path)).scipy_openblas_set_num_threads64_(1)


def readable_paths() -> list[str]:
    """Return the paths that a worker may read: Python's library, NumPy and shared libraries."""
    base, found = {"base": sys.base_prefix, "installed_base": sys.base_prefix}, set()
    for folder in {sysconfig.get_path(name, vars=base) for name in ("stdlib", "platstdlib")}:
        found |= {entry.path for entry in os.scandir(folder) if entry.name not in INSTALLED}
    numpy_folder = Path(np.__file__).parent
    found |= {str(numpy_folder), str(numpy_folder.parent / "numpy.libs")}
    for pattern in ("/lib/*-linux-*", "/usr/lib/*-linux-*", "/lib64", "/usr/lib64", "/etc/ld.so.cache",
                    f"{sys.base_prefix}/lib/libpython*"):
        found |= set(glob.glob(pattern))
    return sorted(path for path in found if os.path.exists(path))


class ForkServer:
    """A process of fork_server.py that forks workers. Raises UserError if it does not start."""

    def __init__(self):
        self.process, self.control = start_python(readable_paths(), os.devnull)

    def close(self) -> None:
        """End the server and all its workers."""
        self.control.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def start(self, request: dict[str, Any]) -> tuple[socket.socket, int]:
        """Start a worker; return the socket to it and its process id. Raises UserError if the server died."""
        sock, theirs = socket.socketpair()
        try:
            with theirs:
                protocol.send(self.control, request, 10)
                socket.send_fds(self.control, [b"f"], [theirs.fileno()])
            return sock, protocol.receive(self.control, 10)
        except GONE:
            raise UserError("the process that starts workers has ended; is memory short?") from None

    def end(self, child: int) -> dict[str, Any]:
        """End a worker; return the answer of `fork_server.end`."""
        try:
            protocol.send(self.control, {"end": child}, 10)
            return protocol.receive(self.control, 60)
        except GONE:  # the server has died
            return {"signal": None, "cpu": 0.0}


class Spawner:
    """A substitute for ForkServer that starts each worker as a plain subprocess."""

    def __init__(self):
        self.processes: dict[int, subprocess.Popen] = {}

    def close(self) -> None:
        """End all workers."""
        for child in list(self.processes):
            self.end(child)

    def start(self, request: dict[str, Any]) -> tuple[socket.socket, int]:
        """Start a worker; return the socket to it and its process id."""
        process, sock = start_python(request, Path(request["folder"], fork_server.OUTPUT))
        self.processes[process.pid] = process
        return sock, process.pid

    def end(self, child: int) -> dict[str, Any]:
        """End a worker; return its signal and processor time, like `ForkServer.end`."""
        ended = fork_server.end(child)
        self.processes.pop(child).wait()  # so that Popen learns that the process has ended
        return ended
