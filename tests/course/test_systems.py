"""macOS and Windows, as far as they can be had on Linux: what they lack is taken away, and the lessons go on.

A process is made poorer before it imports tinyllm: modules, and names of `os`, `signal`, `socket` and `mmap`,
are gone, and `sys.platform` is another. Then it imports every module of the command line and of the lessons,
and checks an exercise. Its workers are made as poor. What cannot be had here is the system itself: its
process groups, its job objects, its pipes.
"""

import csv
import subprocess
import sys

import pytest

from tinyllm.course.launch import Job, JobLimits, signal_of
from tinyllm.course.solved import solved
from tinyllm.course.syllabus import find_lesson

LESSON = find_lesson(0)
MACOS = {
    "os": "O_PATH sched_getaffinity sched_setaffinity pipe2 memfd_create pidfd_open splice eventfd "
          "setresuid getrandom copy_file_range "
          "fork forkpty",  # which it has, but not for a process that has used NumPy
    "signal": "SIGPWR SIGSTKFLT SIGRTMIN SIGRTMAX sigtimedwait sigwaitinfo",
    "socket": "AF_ALG AF_NETLINK AF_VSOCK",
}  # fmt: skip
WINDOWS = {
    "os": MACOS["os"] + " O_CLOEXEC O_NOFOLLOW O_NONBLOCK O_DIRECTORY O_SYNC killpg setsid "
          "setpgid getpgid getuid geteuid getgid chown fchown fchmod mkfifo mknod sysconf sysconf_names "
          "nice uname wait waitid wait3 wait4 WNOHANG WIFSIGNALED WTERMSIG WEXITSTATUS getloadavg statvfs "
          "fstatvfs pread pwrite sendfile confstr posix_fallocate register_at_fork openpty",
    "signal": MACOS["signal"] + " SIGKILL SIGALRM SIGHUP SIGXCPU SIGXFSZ SIGWINCH SIGBUS SIGPIPE SIGCHLD "
              "SIGUSR1 SIGUSR2 SIGQUIT SIGSTOP SIGTSTP SIGCONT alarm setitimer pthread_sigmask pthread_kill "
              "sigwait",
    "socket": MACOS["socket"] + " send_fds recv_fds AF_UNIX socketpair",
    "mmap": "PROT_READ PROT_WRITE PROT_EXEC MAP_SHARED MAP_PRIVATE MAP_ANON MAP_ANONYMOUS",
    "": "resource fcntl termios tty pty pwd grp curses readline syslog",
}  # fmt: skip

POORER = """
import ctypes, importlib, os, pkgutil, signal, socket, subprocess, sys, tempfile, threading, types
import mmap, multiprocessing.connection, multiprocessing.context, shutil
for name in ("asyncio", "unittest.mock", "numpy", "hypothesis", "tqdm", "regex", "safetensors.numpy"):
    if @IMPORT:
        importlib.import_module(name)
for used in [module for name, module in sys.modules.items() if name != "__main__"]:
    for name in ("os", "_os", "signal", "_signal"):  # they are not ours, and keep what they know
        if isinstance(getattr(used, name, None), types.ModuleType):
            setattr(used, name, types.SimpleNamespace(**vars(getattr(used, name))))
for module, names in @GONE.items():
    for name in names.split():
        if not module:
            sys.modules[name] = None
        elif hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
sys.platform = @PLATFORM
if sys.platform == "win32":
    load = ctypes.CDLL.__init__
    def loaded(self, name, *rest, **more):
        if name is None:
            raise TypeError("Windows wants a name")
        load(self, name, *rest, **more)
    ctypes.CDLL.__init__ = loaded
"""
WORKER = POORER + """
import runpy
sys.argv[0] = @ZYGOTE
runpy.run_path(@ZYGOTE, run_name="__main__")
"""
GRADER = POORER + """
jobs = []
class Job:
    def __init__(self, process, limits):
        jobs.append(limits)
        assert limits["memory"] and limits["cpu_seconds"]
    def close(self):
        jobs.append(None)
class Popen(subprocess.Popen):
    _handle = 0
    def __init__(self, *args, pass_fds=(), **more):
        assert sys.platform != "win32" or not pass_fds
        super().__init__(*args, pass_fds=pass_fds, **more)
subprocess.Popen = Popen

import pathlib
import tinyllm.cli, tinyllm.course
from tinyllm.course import launch
launch.Job = Job
launch.SCRIPT = pathlib.Path(@WORKER)
if __name__ == "__main__":  # and not in a process that grades
    for package in (tinyllm.cli, tinyllm.course):
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            importlib.import_module(found.name)
    more = ["--json"] if sys.platform == "win32" else []
    assert tinyllm.cli.main(["check", "0", @EXERCISE, *more]) == 0
    assert tinyllm.cli.main(["lesson"]) == 0
    if sys.platform == "win32":
        assert len(jobs) > 4 and all(job["memory"] == jobs[0]["memory"] for job in jobs[::2])
        assert jobs[1::2] == [None] * (len(jobs) // 2)  # each is closed before the next is made
    else:  # processes that grade are spawned here: on Windows, which Linux cannot
        course = ["course", "grade", "subs", "--out", "out", "--course", "course.toml"]
        assert tinyllm.cli.main(course) == 0
        assert tinyllm.cli.main([*course, "--require-isolation"]) == 2
"""


def filled(text, **values):
    """A script with values in the places of @NAME."""
    for name, value in values.items():
        text = text.replace("@" + name, repr(value))
    return text


@pytest.mark.parametrize("platform, gone", [("darwin", MACOS), ("win32", WINDOWS)], ids=["macos", "windows"])
def test_lessons_are_checked_on_what_another_system_offers(platform, gone, tmp_path):
    from tinyllm.course.launch import SCRIPT

    exercise = tmp_path / "subs" / "ada" / LESSON.folder / "exercise.py"
    exercise.parent.mkdir(parents=True)
    exercise.write_text("\n\n".join(solved(task) for task in LESSON.tasks), "utf-8")
    (tmp_path / "course.toml").write_text('title = "Test"\nseed = 7\n[[lesson]]\nnumber = 0\n')
    worker = tmp_path / "worker.py"
    worker.write_text(filled(WORKER, IMPORT=False, GONE=gone, PLATFORM=platform, ZYGOTE=str(SCRIPT)))
    script = tmp_path / "grader.py"
    script.write_text(filled(GRADER, IMPORT=True, GONE=gone, PLATFORM=platform, WORKER=str(worker),
                             EXERCISE=str(exercise)))  # fmt: skip
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    level = "isolation: plain" if platform == "darwin" else '"isolation": "plain"'
    assert level in done.stdout and "stops accidents, not attackers" in " ".join(done.stdout.split())
    if platform == "darwin":
        with open(tmp_path / "out" / "grades.csv", encoding="utf-8") as f:
            (row,) = csv.DictReader(f)
        assert row["points"] == row["of"] and row["isolation"] == "plain (stops accidents only)"
        assert "--require-isolation" in done.stderr


class Kernel:
    """Stands in for kernel32: notes what it is asked, and what stood in the structure."""

    def __init__(self, works=True):
        self.asked, self.works = [], works

    def __getattr__(self, name):
        def function(*args):
            if name == "SetInformationJobObject":
                told = args[2]._obj
                self.told = (told.flags, told.time, told.processes, told.process_memory, args[3].value)
            self.asked.append((name, args))
            return self.works if name == "AssignProcessToJobObject" else 77

        self.__dict__[name] = function
        return function


def test_a_job_object_bounds_its_process_and_ends_it():
    kernel = Kernel()
    job = Job(55, {"memory": 2**31, "cpu_seconds": 60}, kernel)
    assert kernel.told == (0x2 | 0x8 | 0x100 | 0x400 | 0x2000, 600_000_000, 1, 2**31, 144)
    (handle, process) = kernel.asked[-1][1]
    assert (handle.value, process.value) == (77, 55)
    job.close()
    job.close()
    assert [name for name, _ in kernel.asked[3:]] == ["TerminateJobObject", "CloseHandle"]
    with pytest.raises(OSError, match="job object"):
        Job(55, {"memory": 1, "cpu_seconds": 1}, Kernel(works=False))


def test_the_structure_of_a_job_lies_as_in_winnt_h():
    at = {name: getattr(JobLimits, name).offset for name, *_ in JobLimits._fields_}
    assert list(at.values()) == [0, 8, 16, 24, 32, 40, 48, 56, 60, 64, 112, 120, 128, 136]  # 64-bit Windows


def test_exit_codes_are_read(monkeypatch):
    assert [signal_of(code) for code in (0, 3, -11)] == [0, 0, 11]
    assert [signal_of(code, bubbled=True) for code in (0, 1, 139)] == [0, 0, 11]
    monkeypatch.setattr(sys, "platform", "win32")
    codes = (0, 3, 0xC0000005, 0xC0000005 - 2**32, 1816, 0xC0000409)
    assert [signal_of(code) for code in codes] == [0, 0, 11, 11, signal_of(1816), None]
    assert signal_of(1816)


