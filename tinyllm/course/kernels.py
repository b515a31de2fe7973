"""Compile a student's `exercise.c`, and judge its functions on the cases of the ops.

`guard_pages.py` runs them in a worker and turns a segmentation fault into a sentence. The C functions take
matrices. The ops' cases have any number of axes, so they are cut into matrices here.
"""

import functools
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyllm.course.answer_keys import INSIDE, catalogue
from tinyllm.course.checker import Verdict, judge
from tinyllm.course.drawing import CASES_PER_TASK, properties
from tinyllm.course.elf_symbols import refusal
from tinyllm.course.failures import out_of_bounds
from tinyllm.course.guard_pages import CALLS, GUARD
from tinyllm.course.syllabus import Task
from tinyllm.course.workers import Failure, printable
from tinyllm.testing.properties import FORM, VIEWS

FLAGS = ("-std=c11", "-O3", "-march=native", "-fPIC", "-Wall",
         "-Dabort=tinyllm_abort", "-D__assert_fail=tinyllm_assert_fail")  # see guard_pages.py
LINK = ("-shared", "-s", "-o", "kernels.py")  # named as guard_pages.py says
MAX_SOURCE = 2**18  # bytes
COMPILE_SECONDS = 300  # by the clock; the processor time in sandbox.py ends it sooner
MEASURE_SECONDS = 60
MEANINGLESS = (FORM, VIEWS)  # properties that C functions, which get plain matrices, cannot break
NONE = ("no C compiler here; install one: `sudo apt install gcc`, `sudo dnf install gcc`, or "
        "`xcode-select --install` on a Mac")  # fmt: skip
if sys.platform == "win32":  # the guard pages are POSIX
    NONE = "C functions are run on Linux and macOS only; on Windows, in its Linux (`wsl --install`)"


def find_compiler() -> str | None:
    """Return the system's C compiler, as an absolute path, or None."""
    if sys.platform == "win32":
        return None
    return next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)


def build(source: str, op: str, folder: str | Path, level: str, home: str | Path) -> Path | Failure:
    """Compile a C source into folder/kernels.py -> the path of the script that runs it, or a Failure.

    home: the folder of the student's headers. `elf_symbols` says which functions a source may call.
    """
    folder = Path(folder)
    (folder / "exercise.c").write_text(source, "utf-8")
    for header in sorted(Path(home).glob("*.h"))[:20]:
        if header.is_file() and header.stat().st_size <= MAX_SOURCE:
            shutil.copyfile(header, folder / header.name)
    (folder / "guard.c").write_text(GUARD.replace("CALL", CALLS[op]), "utf-8")
    failure = compile_in(folder, level, ["-c", "-o", "exercise.o", "exercise.c"])
    if not failure and (why := refusal((folder / "exercise.o").read_bytes())):
        failure = Failure("failed", why)
    failure = failure or compile_in(folder, level, [*LINK, "exercise.o", "guard.c", "-lm"])
    if failure:
        return failure
    runner = folder / "run.py"
    shutil.copyfile(Path(__file__).with_name("guard_pages.py"), runner)
    return runner


def compile_in(folder: Path, level: str, arguments: list[str]) -> Failure | None:
    """Run the compiler in a folder, in a sandbox -> None, or a Failure with its first error."""
    script = str(Path(__file__).with_name("sandbox.py"))
    command = [sys.executable, "-I", "-S", script, level, find_compiler() or "", *FLAGS, *arguments]
    messages = folder / "messages.txt"  # a file has a size limit; a pipe could fill our memory
    with open(messages, "wb") as f:
        compiler = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=f, stderr=f, start_new_session=True,
            env={"PATH": os.defpath},
        )  # fmt: skip
    try:
        if compiler.wait(COMPILE_SECONDS) == 0:
            return None
    except subprocess.TimeoutExpired:
        os.killpg(compiler.pid, signal.SIGKILL)  # and what it has started
        compiler.wait()
        return Failure("timed_out", "the compiler did not come to an end in time")
    with open(messages, "rb") as f:
        return compile_error(f.read(2**16).decode("utf-8", "replace"))


def compile_error(said: str) -> Failure:
    """Read the first error of a compiler -> Failure with its line."""
    for line in said.splitlines():
        if found := re.match(r"exercise\.c:(\d+):(?:\d+:)? (?:fatal )?error: (.*)", line):
            return Failure("failed", printable(f"it does not compile: {found[2]}"), int(found[1]))
    first = next((line for line in said.splitlines() if "error" in line or "undefined" in line), said)
    return Failure("failed", printable(f"it does not compile: {first}"))


def has_body(source: str, op: str) -> bool:
    """Return True if a C source defines a function with something between its braces."""
    bare = re.sub(r"/\*.*?(?:\*/|\Z)|//[^\n]*", " ", source, flags=re.DOTALL)
    body = re.search(rf"\b{op}\s*\([^()]*\)[^;{{}}]{{0,200}}\{{\s*(.)", bare, re.DOTALL)
    return body is not None and body[1] != "}"


def measure(op: str, folder: str | Path) -> float | str:
    """Measure the speed of a function of folder/exercise.c in another process -> number, or a sentence.

    The number is in GFLOP/s for matmul, in GB/s for softmax.
    """
    path = Path(folder) / "exercise.c"
    source = path.read_text("utf-8") if path.is_file() else ""
    if not has_body(source, op):
        return "still empty in exercise.c"
    if not find_compiler():
        return NONE
    with tempfile.TemporaryDirectory(prefix="tinyllm-") as scratch:
        runner = build(source, op, scratch, "plain", folder)
        if isinstance(runner, Failure):
            return runner.message
        command = [sys.executable, str(runner), op]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=MEASURE_SECONDS)
            return float(done.stdout)
        except (ValueError, subprocess.TimeoutExpired):
            return "it did not come to its end; `tinyllm check 10` says why"


def matrices(op: str, args: Sequence[Any]) -> list[tuple]:
    """Cut the arguments of a case into matrices for a C function -> list of argument tuples."""
    if op == "softmax":
        x = args[0]
        return [(np.array(x, order="C").reshape(math.prod(x.shape[:-1]), x.shape[-1]),)]
    a, b = pair(*args)
    return [(np.array(a[i], order="C"), np.array(b[i], order="C")) for i in np.ndindex(a.shape[:-2])]


def pair(a: np.ndarray, b: np.ndarray, transpose_a: bool = False,
         transpose_b: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the two stacks of matrices that are multiplied, of equal length."""
    a, b = (x.swapaxes(-1, -2) if turn else x for x, turn in ((a, transpose_a), (b, transpose_b)))
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return np.broadcast_to(a, (*stack, *a.shape[-2:])), np.broadcast_to(b, (*stack, *b.shape[-2:]))


class KernelWorker:
    """A worker that takes an op's arguments, cuts them into matrices, and puts the results together again."""

    def __init__(self, worker, op):
        self.worker, self.op = worker, op

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.worker.__exit__(*exc)

    @property
    def failure(self) -> Failure | None:
        """Return the Failure that keeps the worker from running anything, or None."""
        return self.worker.failure

    def call(self, function: str, args: Sequence[Any], send_args: bool = False) -> Any:
        """Call the C function, as `Worker.call`."""
        value = self.softmax(*args) if self.op == "softmax" else self.matmul(*args)
        return value if isinstance(value, Failure) or not send_args else (value, list(args))

    def steps(self, function: str, args: Sequence[Any]) -> Failure:
        """Return a Failure: C has no variables to look at."""
        return Failure("failed", "no steps")

    def softmax(self, x: np.ndarray) -> np.ndarray | Failure:
        [sent] = matrices("softmax", [x])
        return self.shaped(self.worker.call("softmax", sent), sent[0].shape, x.shape)

    def matmul(self, *args: Any) -> np.ndarray | Failure:
        a, b = pair(*args)
        y = np.empty((*a.shape[:-1], b.shape[-1]), np.float32)
        for i, sent in zip(np.ndindex(y.shape[:-2]), matrices("matmul", args), strict=True):
            one = self.shaped(self.worker.call("matmul", sent), y.shape[-2:], y.shape[-2:])
            if isinstance(one, Failure):
                return one
            y[i] = one
        return y

    @staticmethod
    def shaped(y: Any, sent: tuple, shape: tuple) -> np.ndarray | Failure:
        if isinstance(y, Failure):
            return y
        if not isinstance(y, np.ndarray) or y.shape != sent or y.dtype != np.float32:
            return Failure("failed", "its answer cannot be read")
        return y.reshape(shape)


COMPILED: dict = {}  # (op, level) -> the bytes of kernels.py and run.py that `KnownKernels` built


class KnownKernels:
    """Known mistakes in a kernel, compiled together when one is first run."""

    def __init__(self, launcher, op, folder):
        self.launcher, self.op, self.folder = launcher, op, Path(folder, "known")
        self.sentences, self.source = catalogue(op)
        self.worker = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.worker:
            self.worker.__exit__()

    def mistakes(self) -> list[tuple[str, Callable[..., Any]]]:
        """Return the mistakes as `checker.judge` takes them -> list of (sentence, function)."""
        return [(said, functools.partial(self.run, i)) for i, said in enumerate(self.sentences)]

    def compiled(self) -> Path:
        """Write the compiled mistakes to the folder -> the path to run. Raises ValueError.

        They are compiled once in a process.
        """
        self.folder.mkdir()
        runner, key = self.folder / "run.py", (self.op, self.launcher.level)
        if key not in COMPILED:
            runner = build(self.source, self.op, self.folder, self.launcher.level, self.folder)
            if isinstance(runner, Failure):
                raise ValueError(runner.message)
            COMPILED[key] = (self.folder / "kernels.py").read_bytes(), runner.read_bytes()
        else:
            (self.folder / "kernels.py").write_bytes(COMPILED[key][0])
            runner.write_bytes(COMPILED[key][1])
        return runner

    def run(self, which: int, *args: Any) -> Any:
        """Run one mistake on a case -> its result, or where it left its arrays. Raises ValueError."""
        if self.worker is None:
            self.worker = KernelWorker(self.launcher.start(self.compiled()), self.op)
        self.worker.worker.call("choose", [which])
        answer = self.worker.call(self.op, args)
        if isinstance(answer, Failure) and not out_of_bounds(answer):
            raise ValueError(answer.message)
        return answer.message if isinstance(answer, Failure) else answer


def judge_c(task: Task, start: Callable[[], Any], folder: Path | None = None, **options: Any) -> Verdict:
    """Check one C function -> Verdict; the arguments are those of `checker.judge`.

    folder: where exercise.c is. State blocked where this machine has no compiler.
    """
    options = {"count": CASES_PER_TASK, "variant": 0} | options
    every = properties(task.op, options["count"], options["variant"])
    titles = [INSIDE, *(title for title in every if title not in MEANINGLESS)]
    path = Path(folder or ".") / "exercise.c"
    try:
        source = path.read_bytes()[: MAX_SOURCE + 1].decode("utf-8")
    except OSError:
        return Verdict(task.name, "not_attempted", broken=tuple(titles), message="there is no exercise.c")
    except UnicodeDecodeError:
        return Verdict(task.name, "failed", broken=tuple(titles), message="exercise.c is not text in UTF-8")
    if len(source) > MAX_SOURCE:
        return Verdict(task.name, "failed", broken=tuple(titles), message="exercise.c is too long")
    attempted = has_body(source, task.op)
    if not attempted and not (source.strip() and find_compiler()):
        return Verdict(task.name, "not_attempted", broken=tuple(titles))
    if not find_compiler():
        return Verdict(task.name, "blocked", broken=tuple(titles), message=NONE)
    with start() as worker:
        launcher, limits = worker.launcher, worker.limits
    with tempfile.TemporaryDirectory(prefix="tinyllm-") as scratch:
        runner = build(source, task.op, scratch, launcher.level, path.parent)
        if not attempted and not (isinstance(runner, Failure) and runner.line):
            return Verdict(task.name, "not_attempted", broken=tuple(titles))
        if isinstance(runner, Failure):
            state, message, line = runner.state, runner.message, runner.line
            return Verdict(task.name, state, broken=tuple(titles), message=message, line=line)
        with KnownKernels(launcher, task.op, scratch) as known:
            options |= {"known": known.mistakes(), "cut": functools.partial(matrices, task.op)}
            kernel = functools.partial(launcher.start, runner, limits)
            return judge_compiled(task, lambda: KernelWorker(kernel(), task.op), titles, options)


def judge_compiled(task: Task, start: Callable[[], Any], titles: list[str],
                   options: dict[str, Any]) -> Verdict:
    """Judge a function that has been compiled."""
    inner = Task(task.op, task.op)
    every = properties(task.op, options["count"], options["variant"])
    cases = [args for each in every.values() for args in each]
    outside = None
    with start() as worker:
        for args in cases:
            answer = worker.call(task.op, args)
            if isinstance(answer, Failure):
                outside = answer if out_of_bounds(answer) else None
                break
    if isinstance(answer, Failure) and answer.state == "timed_out":  # a second run would time out too
        return Verdict(task.name, answer.state, broken=tuple(titles), message=answer.message)
    verdict = judge(inner, start, **options)
    held = [title for title in titles if title in verdict.held or (title == INSIDE and not outside)]
    if verdict.state != "passed" and not outside and isinstance(answer, Failure):
        held = [title for title in held if title != INSIDE]  # unknown, since some cases did not run
    broken = tuple(title for title in verdict.broken if title in titles)
    if INSIDE not in held:
        broken = (INSIDE, *broken) if verdict.message.startswith("Outside") else (*broken, INSIDE)
    if verdict.state == "passed" and outside:  # it failed only after more calls than one property makes
        verdict = replace(verdict, state="failed", message=printable(outside.message))
    message = re.sub(r"^(Outside|Crash): ", "", verdict.message)  # the names of guard_pages' exceptions
    if "got nan" in message and not verdict.mistake:
        message += "; y is full of NaN before the call: is each element set?"
    return replace(verdict, task=task.name, held=tuple(held), broken=broken, message=message, line=None)

