"""Workers that are started and not forked: on macOS, on Windows, and inside bubblewrap.

A process is started for each worker, which costs the import of numpy. Its standard input and output are the
wire, which it makes private before a student's code runs; what the student prints comes out of its standard
error. Its end is the end of all that it has started: by its process group on macOS, by a job object on
Windows, by its namespaces inside bubblewrap.
"""

import contextlib
import ctypes
import glob
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from itertools import product
from pathlib import Path

import numpy as np

from tinyllm.course import wire
from tinyllm.course.zygote import asleep, descendants, used, used_by
from tinyllm.errors import UserError

INSTALLED = ("site-packages", "dist-packages")  # what in Python's library is not Python's
SCRIPT = Path(__file__).with_name("zygote.py")
OUT_OF_TIME = getattr(signal, "SIGXCPU", -1)  # what died of this has used up its processor time
CRASHES = {  # what Windows calls them -> the signals of other systems
    0xC0000005: signal.SIGSEGV, 0xC00000FD: signal.SIGSEGV, 0xC000001D: signal.SIGILL,
    0xC0000094: signal.SIGFPE, 1816: OUT_OF_TIME,
}  # fmt: skip


def python_command(where):
    """The command that starts zygote.py, and its environment. where: a file descriptor, or "-" for pipes."""
    # On Windows a virtual environment's python.exe only starts the real one, which could leave the job.
    python = getattr(sys, "_base_executable", "") if sys.platform == "win32" else ""
    command = [python or sys.executable, "-I", "-S", "-u"]  # -u: what is printed is not lost in a crash
    environment = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PATH": os.defpath}
    if "SYSTEMROOT" in os.environ:  # Windows starts nothing without
        environment["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
    return [*command, str(SCRIPT), where, str(Path(np.__file__).parents[1])], environment


class Launched:
    """A process for one worker. `talk` is the wire, `output` what it prints, `end` its end.

    Raises UserError, with what the process said, where it does not start.
    """

    def __init__(self, order, seconds):
        command, environment = python_command("-")
        self.bubbled = order["level"] == "bwrap"
        if self.bubbled:
            command = bubble([os.path.dirname(order["code"]), *order["readable"]]) + command
            order = order | {"folder": "/tmp"}
        flags = [getattr(subprocess, f"CREATE_{name}", 0) for name in ("NEW_PROCESS_GROUP", "NO_WINDOW")]
        self.job, self.cpu = None, 0.0
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
            env=environment, start_new_session=True, creationflags=flags[0] | flags[1],
        )  # fmt: skip
        self.talk = wire.Pipes(self.process.stdout, self.process.stdin)
        self.output = self.process.stderr
        try:
            if sys.platform == "win32":  # before the order is sent, so before any of the student's code
                self.job = Job(self.process._handle, order["limits"])
            wire.receive(self.talk, seconds)
            wire.send(self.talk, order, seconds)
        except BaseException as error:
            self.end(patience=0)
            with self.output:
                said = self.output.read(4000).decode("utf-8", "replace").strip().split("\n")[-1]
            if not isinstance(error, (wire.Closed, wire.WireError, OSError)):
                raise
            raise UserError(f"the worker process does not start: {said or 'it says nothing'}") from None

    def end(self, patience):
        """Kill the process and all that it has started -> the signal that it had died of, as `Worker._end`.

        patience: milliseconds to wait for one that is about to end by itself. `cpu` is then what it has used.
        """
        code, before = None, used()
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(patience / 1000)
        if self.job:
            self.job.close()
        elif hasattr(os, "killpg"):
            self._kill(code is None)
        self.process.kill()
        self.process.wait()
        self.cpu += used() - before
        self.talk.close()
        return code if code is None else signal_of(code, self.bubbled)

    def asleep(self):
        """Whether it does nothing, at this moment."""
        return asleep([self.process.pid, *descendants(self.process.pid)])

    def _kill(self, alive):
        # None where there is no /proc; and where it has been waited for, its number may be another's.
        found = descendants(self.process.pid) if alive else []
        if self.bubbled:  # nobody waits for what is inside
            self.cpu = used_by(found)
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if self.bubbled and found:  # it outlives what is inside, so that its end is the end of all
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)


def signal_of(code, bubbled=False):
    """The signal behind an exit code: 0 if there was none, None if it is not known."""
    if sys.platform == "win32":
        return CRASHES.get(code & 0xFFFFFFFF, 0 if code < 0xC0000000 else None)
    if bubbled and code > 128:
        return code - 128
    return max(-code, 0)


def bubble(readable, writable=()):
    """The command that runs the rest of the line in namespaces of its own: these paths, and nothing else."""
    ours = [str(SCRIPT.with_name(name)) for name in ("zygote.py", "wire.py", "sandbox.py", "compiling.py")]
    python = [sys.executable, os.path.realpath(sys.executable), str(Path(sys.prefix, "pyvenv.cfg"))]
    library = library_folders()  # as wholes, with masks over what is installed: a mount for each file is slow
    paths = {path for path in (*readable, *ours, *python) if os.path.dirname(path) not in library}
    paths = [path for path in sorted(paths | library) if os.path.exists(path)]
    masks = [path for pair in product(library, INSTALLED) if os.path.isdir(path := os.path.join(*pair))]
    command = [shutil.which("bwrap") or "bwrap", "--unshare-all", "--die-with-parent", "--new-session"]
    command += ["--cap-drop", "ALL"]
    command += ["--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev"]  # first: paths may lie below /tmp
    for path in sorted([*paths, *masks]):  # what is inside another comes after it
        command += ["--tmpfs", path] if path in masks else ["--ro-bind", path, path]
    for path in writable:
        command += ["--bind", path, path]
    for path in (*masks, "/dev", "/tmp", "/"):  # nothing is left to write to
        command += ["--remount-ro", path]
    return command


def library_folders():
    """Where Python's own library is -> set of paths, one or two."""
    base = {"base": sys.base_prefix, "installed_base": sys.base_prefix}
    return {sysconfig.get_path(name, vars=base) for name in ("stdlib", "platstdlib")}


def readable_paths():
    """What a worker may read: Python's library without installed packages, numpy, and shared libraries."""
    found = set()
    for folder in library_folders():
        found |= {entry.path for entry in os.scandir(folder) if entry.name not in INSTALLED}
    numpy_folder = Path(np.__file__).parent
    found |= {str(numpy_folder), str(numpy_folder.parent / "numpy.libs")}
    for pattern in ("/lib/*-linux-*", "/usr/lib/*-linux-*", "/lib64", "/usr/lib64", "/etc/ld.so.cache",
                    f"{sys.base_prefix}/lib/libpython*"):  # fmt: skip
        found |= set(glob.glob(pattern))
    return sorted(path for path in found if os.path.exists(path))


class Job:
    """A job object of Windows: bounds for a process and all that it starts, which end when it is closed.

    One process, so much memory, so much processor time; and no window that waits for somebody to click.
    Raises OSError where the process cannot be put into it.
    """

    EXTENDED_LIMITS = 9  # JobObjectExtendedLimitInformation
    TIME, ONE_PROCESS, MEMORY, NO_WINDOW, KILL = 0x2, 0x8, 0x100, 0x400, 0x2000  # JOB_OBJECT_LIMIT_...

    def __init__(self, process, limits, kernel=None):
        self.kernel = kernel or ctypes.WinDLL("kernel32", use_last_error=True)
        for name in ("CreateJobObjectW", "OpenProcess"):
            getattr(self.kernel, name).restype = ctypes.c_void_p
        self.handle = ctypes.c_void_p(self.kernel.CreateJobObjectW(None, None))
        told = JobLimits()
        told.flags = self.TIME | self.ONE_PROCESS | self.MEMORY | self.NO_WINDOW | self.KILL
        told.time, told.processes = limits["cpu_seconds"] * 10**7, 1  # of 100 nanoseconds
        told.process_memory = limits["memory"]
        size = ctypes.c_uint32(ctypes.sizeof(told))
        put = self.kernel.SetInformationJobObject(self.handle, self.EXTENDED_LIMITS, ctypes.byref(told), size)
        if not put or not self.kernel.AssignProcessToJobObject(self.handle, ctypes.c_void_p(int(process))):
            self.close()
            raise OSError("Windows does not put the worker into a job object")

    def close(self):
        """Kill all that is in it, and give it back."""
        if self.handle:
            self.kernel.TerminateJobObject(self.handle, ctypes.c_uint32(1))
            self.kernel.CloseHandle(self.handle)
        self.handle = None


class JobLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION of winnt.h."""

    _fields_ = [
        ("time", ctypes.c_int64), ("time_of_job", ctypes.c_int64), ("flags", ctypes.c_uint32),
        ("least", ctypes.c_size_t), ("most", ctypes.c_size_t), ("processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t), ("priority", ctypes.c_uint32), ("scheduling", ctypes.c_uint32),
        ("io", ctypes.c_uint64 * 6), ("process_memory", ctypes.c_size_t), ("job_memory", ctypes.c_size_t),
        ("peak", ctypes.c_size_t), ("peak_of_job", ctypes.c_size_t),
    ]  # fmt: skip
