"""Compile a student's `exercise.c`, and judge its functions on the cases of the ops.

`guard_pages.py` runs these functions in a worker. It cuts the cases of ops into single matrices, which is
what C functions take, and turns a segmentation fault into a sentence.
"""

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyllm.course import checker
from tinyllm.course.answer_keys import catalogue
from tinyllm.course.checker import Verdict
from tinyllm.course.drawing import CASES_PER_TASK, properties
from tinyllm.course.elf_symbols import refusal, runs_at_load
from tinyllm.course.failures import INSIDE, out_of_bounds
from tinyllm.course.guard_pages import CALLS, GUARD, matrices
from tinyllm.course.syllabus import Exercise
from tinyllm.course.workers import Failure, Launcher, printable, without_scratch
from tinyllm.course.workspace import lay_out
from tinyllm.errors import UserError
from tinyllm.files import open_regular, read_bytes, read_text
from tinyllm.testing.properties import ARGUMENTS, FORM, VIEWS

FLAGS = ("-std=c11", "-O3", "-march=native", "-fPIC", "-Wall",
         "-Dabort=tinyllm_abort", "-D__assert_fail=tinyllm_assert_fail")  # see guard_pages.py
LIBRARY = "kernels.py"  # named as guard_pages.py says
LINK = ("-shared", *(("-nostartfiles",) if sys.platform == "linux" else ()), "-s", "-o", LIBRARY)
MAX_SOURCE = 2**18  # bytes
COMPILE_SECONDS = 300  # by the clock; the processor time in sandbox.py ends it sooner
MEASURE_SECONDS = 60
NO_COLUMNS = {"softmax": [(np.zeros((3, 0), np.float32),)]}  # which functions in Python do not get
MEANINGLESS = (FORM, VIEWS, ARGUMENTS)  # properties that C functions, which get plain matrices, cannot break
NONE = ("no C compiler here; install one: `sudo apt install gcc`, `sudo dnf install gcc`, or "
        "`xcode-select --install` on a Mac")
if sys.platform == "win32":  # the guard pages are POSIX
    NONE = "C functions are run on Linux and macOS only; on Windows, in its Linux (`wsl --install`)"


def find_compiler() -> str | None:
    """Return the absolute path of the system's C compiler, or None."""
    if sys.platform == "win32":
        return None
    return next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)


def build(source: str, op: str, folder: str | Path, level: str, home: str | Path) -> Path | Failure:
    """Compile a C source in a folder; return the path of a script that runs the code, or a Failure.

    home: the folder of the student's headers. `elf_symbols` decides which functions a source may call.
    """
    folder = Path(folder)
    (folder / "exercise.c").write_text(source, "utf-8")
    for header in sorted(Path(home).glob("*.h"))[:20]:
        if header.is_file() and not header.is_symlink() and header.stat().st_size <= MAX_SOURCE:
            shutil.copyfile(header, folder / header.name)
    (folder / "guard.c").write_text(GUARD.replace("CALL", CALLS[op]), "utf-8")
    failure = compile_in(folder, level, ["-c", "-o", "exercise.o", "exercise.c"])
    if not failure and (why := refusal(read_bytes(folder / "exercise.o"))):
        failure = Failure("failed", why)
    failure = failure or compile_in(folder, level, [*LINK, "exercise.o", "guard.c", "-lm"])
    if not failure and (why := runs_at_load(read_bytes(folder / LIBRARY))):
        failure = Failure("failed", why)
    if failure:
        return failure
    runner = folder / "run.py"
    shutil.copyfile(Path(__file__).with_name("guard_pages.py"), runner)
    return runner


def compile_in(folder: Path, level: str, arguments: list[str]) -> Failure | None:
    """Run the compiler in a folder and in a sandbox; return None, or a Failure with the first error."""
    script = str(Path(__file__).with_name("sandbox.py"))
    command = [sys.executable, "-I", "-S", script, level, find_compiler() or "", *FLAGS, *arguments]
    messages = folder / "messages.txt"  # a file has a size limit; a pipe could fill our memory
    with open(messages, "wb") as f:
        compiler = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=f, stderr=f, start_new_session=True,
            env={"PATH": os.defpath},
        )
    try:
        if compiler.wait(COMPILE_SECONDS) == 0:
            return None
    except subprocess.TimeoutExpired:
        return Failure("timed_out", "the compiler ran for too long")
    finally:
        if compiler.returncode is None:  # it ran too long, or this process has to end
            os.killpg(compiler.pid, signal.SIGKILL)  # also ends the processes that it started
            compiler.wait()
    with open_regular(messages) as f:
        return compile_error(f.read(2**16).decode("utf-8", "replace"))


def compile_error(said: str) -> Failure:
    """Return the first error in a compiler's output as a Failure with its line."""
    said = re.sub(r"\bcc\w{6}\.s:", "exercise.s:", without_scratch(said))
    for line in said.splitlines():
        if found := re.match(r"exercise\.c:(\d{1,7}):(?:\d+:)? (?:fatal )?error: (.*)", line):
            return Failure("failed", printable(f"it does not compile: {found[2]}"), int(found[1]))
    first = next((line for line in said.splitlines() if re.search(r"[Ee]rror:|undefined", line)), said)
    return Failure("failed", printable(f"it does not compile: {first}"))


def has_body(source: str, op: str) -> bool:
    """Return True if a C source defines a function whose body is not empty."""
    bare = re.sub(r"/\*.*?(?:\*/|\Z)|//[^\n]*", " ", source, flags=re.DOTALL)
    body = re.search(rf"\b{op}\s*\([^()]*\)[^;{{}}]{{0,200}}\{{\s*(.)", bare, re.DOTALL)
    return body is not None and body[1] != "}"


def measure(op: str, folder: str | Path) -> float | str:
    """Measure the speed of a function of exercise.c in another process; return a sentence if this fails.

    The unit is GFLOP/s for matmul, GB/s for softmax.
    """
    path = Path(folder) / "exercise.c"
    source = read_text(path, MAX_SOURCE) if path.is_file() else ""
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


@functools.cache
def compiled_mistakes(op: str, level: str) -> dict[str, bytes]:
    """Compile the known wrong kernels of an op, once per process; return {file name: bytes}.

    Raises ValueError if they do not compile.
    """
    with tempfile.TemporaryDirectory(prefix="tinyllm-") as folder:
        runner = build(catalogue(op)[1], op, folder, level, folder)
        if isinstance(runner, Failure):
            raise ValueError(runner.message)
        return {name: read_bytes(Path(folder, name)) for name in (LIBRARY, runner.name)}


@contextlib.contextmanager
def known_mistakes(launcher: Launcher, op: str, folder: Path) -> Iterator[list[tuple]]:
    """Open a context with the known mistakes of a kernel as pairs (sentence, function), for `checker.judge`.

    The mistakes are compiled in `folder` when a function is first called. A function returns the results of a
    wrong kernel, or a message if the kernel accesses memory outside its arrays.
    """
    with contextlib.ExitStack() as stack:

        @functools.cache
        def worker():
            files = compiled_mistakes(op, launcher.level)
            return stack.enter_context(launcher.start(lay_out(files, folder, "run.py")))

        def run(which, *args):
            worker().call("choose", [which])
            answer = worker().call(op, args)
            if isinstance(answer, Failure) and not out_of_bounds(answer):
                raise ValueError(answer.message)
            return answer.message if isinstance(answer, Failure) else answer

        yield [(said, functools.partial(run, i)) for i, said in enumerate(catalogue(op)[0])]


def judge(task: Exercise, start: Callable[[], Any], folder: Path | None = None, count: int = CASES_PER_TASK,
          variant: int = 0, first: Callable[[str, str], Any] = lambda task, message: None,
          **options: Any) -> Verdict:
    """Check a C function. The arguments are as in `checker.judge`.

    folder: contains exercise.c. The state is "blocked" if this machine has no compiler.
    """
    found, path = properties(task.op, count, variant), Path(folder or ".") / "exercise.c"
    every = {INSIDE: [args for cases in found.values() for args in cases] + NO_COLUMNS.get(task.op, [])}
    every |= {title: cases for title, cases in found.items() if title not in MEANINGLESS}
    untried = functools.partial(Verdict, task.name, broken=tuple(every))
    if not path.exists():
        return untried("not_attempted", message="there is no exercise.c")
    try:
        source = read_text(path, MAX_SOURCE)
    except UserError as error:
        return untried("failed", message=str(error).replace(f"{path.parent}{os.sep}", ""))
    attempted = has_body(source, task.op)
    if not attempted and not (source.strip() and find_compiler()):
        return untried("not_attempted")
    if not find_compiler():
        return untried("blocked", message=NONE)
    with start() as worker:
        launcher, limits = worker.launcher, worker.limits
    with tempfile.TemporaryDirectory(prefix="tinyllm-") as scratch, tempfile.TemporaryDirectory() as other:
        runner = build(source, task.op, scratch, launcher.level, path.parent)
        if not attempted and not (isinstance(runner, Failure) and runner.line):
            return untried("not_attempted")
        if isinstance(runner, Failure):
            return untried(runner.state, message=runner.message, line=runner.line)
        with known_mistakes(launcher, task.op, Path(other)) as known:
            options |= {"every": every, "known": known, "cut": functools.partial(matrices, task.op),
                        "first": lambda _, message: first(task.name, message)}
            kernel = functools.partial(launcher.start, runner, limits)
            verdict = checker.judge(Exercise(task.op, task.op), kernel, **options)
    message = verdict.message
    if "got nan" in message and not verdict.mistake:
        message += "; y is full of NaN before the call: is each element set?"
    return replace(verdict, task=task.name, message=message, line=None)
