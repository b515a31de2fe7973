"""Compile a student's `exercise.c` into a program, and judge its functions on the cases of the ops.

The program is `driver.c` with the student's file. A worker runs it like any other exercise, and it answers in
the same frames. This file cuts the cases of ops into single matrices, which C functions take, and describes
an access outside of the arrays in words.
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
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyllm.course import checker
from tinyllm.course.checker import Verdict
from tinyllm.course.drawing import CASE_KINDS, CASES_PER_TASK, case_kind, properties
from tinyllm.course.failures import INSIDE, OutOfBounds
from tinyllm.course.syllabus import Exercise
from tinyllm.course.workers import LIMITS, Failure, Launcher, Worker, printable, without_scratch
from tinyllm.errors import UserError
from tinyllm.files import open_regular, read_text
from tinyllm.ops import OPS
from tinyllm.testing.properties import STEADY

FLAGS = ("-std=c11", "-O3", "-march=native", "-Wall",
         "-Dabort=tinyllm_abort", "-D__assert_fail=tinyllm_assert_fail")  # see driver.c
CALLS = {"softmax": "softmax(y, a, m, k)", "matmul": "matmul(y, a, b, m, k, n)"}  # with the names of driver.c
NAMES = {"softmax": ("y", "x"), "matmul": ("y", "a", "b")}
TIMED = {"softmax": (1000, lambda n: 8 * n * n), "matmul": (512, lambda n: 2 * n**3)}  # size n; bytes, FLOPs
TIMED_SECONDS = 0.3
WILD = "it touches memory far from its arrays: a wild index, or a recursion without end"
SIGNALS = {int(signal.SIGFPE): "it divides a whole number by zero",
           int(signal.SIGABRT): "it calls abort(), as an assert does that fails"}
MAX_SOURCE = 2**18  # bytes
COMPLAINT = "[Ee]rror:|undefined|multiple definition"  # in messages of a compiler or linker that name no line
COMPILE_SECONDS = 300  # by the clock; the limit on processor time in sandbox.py usually ends it sooner
NO_COLUMNS = {"softmax": [(np.zeros((3, 0), np.float32),)]}  # a case only for functions in C
# Mistakes of C only: code there computes indices itself, and may replace a sum of 0 before it divides.
KNOWN = {
    "softmax": [("x read as if it lay column by column",
                 lambda x: OPS["softmax"].reference(x.reshape(x.shape[::-1]).T)),
                ("softmax without subtracting the maximum, so that exp overflows",  # it avoids 0 / 0
                 lambda x: np.exp(x) / np.maximum(np.exp(x).sum(axis=-1, keepdims=True), 1e-37))],
    "matmul": [("= where += belongs, so that each sum is its last product", lambda a, b: a[:, -1:] @ b[-1:]),
               ("b read as if it were transposed", lambda a, b: a @ b.reshape(b.shape[::-1]).T),
               ("a read as if it were transposed", lambda a, b: a.reshape(a.shape[::-1]).T @ b),
               ("y written column by column", lambda a, b: (a @ b).T.reshape(len(a), b.shape[1]))],
}
NONE = ("no C compiler here; install one: `sudo apt install gcc`, `sudo dnf install gcc`, or "
        "`xcode-select --install` on a Mac")


def find_compiler() -> str | None:
    """Return the absolute path of the system's C compiler, or None."""
    return next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)


def build(path: Path, op: str, folder: str | Path, level: str) -> Path | Failure:
    """Compile a student's file in an empty folder, in a sandbox; return the program's path, or a Failure."""
    try:
        source = read_text(path, MAX_SOURCE) if path.is_file() else ""
    except UserError as error:
        return Failure("failed", str(error).replace(f"{path.parent}{os.sep}", ""))
    if not has_body(source, op):
        return Failure("not_attempted", "still empty in exercise.c")
    if not find_compiler():
        return Failure("not_graded", NONE)
    folder = Path(folder)
    (folder / "exercise.c").write_text(source, "utf-8")
    shutil.copyfile(Path(__file__).with_name("driver.c"), folder / "driver.c")
    script = str(Path(__file__).with_name("sandbox.py"))
    command = [sys.executable, "-I", "-S", script, level, find_compiler() or "", *FLAGS,
               f"-DTINYLLM_CALL={CALLS[op]}", "-o", "program", "exercise.c", "driver.c", "-lm"]
    messages = folder / "messages.txt"  # a file has a size limit; a pipe could fill our memory
    with open(messages, "wb") as f:
        compiler = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=f, stderr=f, start_new_session=True,
            env={"PATH": os.defpath},
        )
    try:
        if compiler.wait(COMPILE_SECONDS) == 0:
            return folder / "program"
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
    lines = without_scratch(said).splitlines()
    for line in lines:
        if found := re.match(r"exercise\.c:(\d{1,7}):(?:\d+:)? (?:fatal )?error: (.*)", line):
            return Failure("failed", printable(f"it does not compile: {found[2]}"), int(found[1]))
    first = next((line for line in lines if re.search(COMPLAINT, line)), " ".join(lines))
    return Failure("failed", printable(f"it does not compile: {first}"))


def has_body(source: str, op: str) -> bool:
    """Return True if a C source defines a function whose body is not empty."""
    bare = re.sub(r"/\*.*?(?:\*/|\Z)|//[^\n]*", " ", source, flags=re.DOTALL)
    body = re.search(rf"\b{op}\s*\([^()]*\)[^;{{}}]{{0,200}}\{{\s*(.)", bare, re.DOTALL)
    return body is not None and body[1] != "}"


def measure(op: str, folder: str | Path) -> float | str:
    """Measure a function of exercise.c in GFLOP/s (softmax: GB/s); return a sentence if this fails."""
    n, work = TIMED[op]
    inputs = [np.ones((n, n), np.float32)] * (len(NAMES[op]) - 1)
    times: list[int] = []
    end = time.monotonic() + TIMED_SECONDS
    with tempfile.TemporaryDirectory(prefix="tinyllm-") as scratch, Launcher("plain") as launcher:
        program = build(Path(folder) / "exercise.c", op, scratch, "plain")
        if isinstance(program, Failure):
            return program.message
        with KernelWorker(op, launcher, program, {}) as worker:
            while not times or time.monotonic() < end:
                answer = worker.call(op, inputs)
                if isinstance(answer, Failure):
                    return answer.message
                times.append(worker.nanoseconds)
    return work(n) / max(min(times), 1)


class KernelWorker(Worker):
    """A worker that runs a C function; `nanoseconds` is the time that the last call took, by the clock."""

    def __init__(self, op: str, launcher: Launcher, program: Path, limits: dict[str, float]):
        self.op, self.nanoseconds = op, 0
        super().__init__(launcher, program.resolve(), LIMITS | limits)

    def call(self, function: str, args: Sequence[Any], send_args: bool = False,
             names: Sequence[str] = ()) -> Any:
        """Call the C function with one or two matrices, and return the op's value or a Failure."""
        (m, k), n = args[0].shape, args[-1].shape[1]
        counts = [m * n, *(a.size for a in args)]
        numbers = [m, k, n, *counts, *[0] * (3 - len(counts))]
        answer = super().call(self.op, [np.array(numbers, np.int64), *args])
        if isinstance(answer, Failure):
            return answer
        several = answer if isinstance(answer, list) else []
        forms = [(a.dtype, a.shape) if isinstance(a, np.ndarray) else None for a in several]
        if forms != [(np.int64, (4,)), (np.float32, (counts[0],))]:
            return Failure("failed", f"the answer of {self.op} cannot be read")
        number, operand, offset, self.nanoseconds = answer[0].tolist()
        if number:
            return fault(number, offset, list(zip(NAMES[self.op], counts, strict=True)), operand)
        return answer[1].reshape(m, n)

    def steps(self, function: str, args: Sequence[Any]) -> Failure:
        """Return a Failure, because the variables of a C function cannot be recorded."""
        return Failure("failed", "C functions are not recorded")


def fault(number: int, offset: int, operands: list[tuple[str, int]], operand: int) -> Failure:
    """Return the Failure that describes what a C function did wrong.

    number: the signal that it caused; operands: (name, number of elements) of each array.
    operand: the index of the array that was touched, or -1; offset: the byte in it, or else the address.
    """
    if number not in (signal.SIGSEGV, signal.SIGBUS):
        known = signal.strsignal(number) if number in signal.valid_signals() else None
        return Failure("failed", SIGNALS.get(number) or known or "it crashes")
    if 0 <= operand < len(operands):
        (name, count), at = operands[operand], offset // 4
        if operand > 0 and 0 <= at < count:  # operand 0 is y, which may be written
            return OutOfBounds("failed", f"it writes into {name}, which is const: element {at}")
        side = "before the beginning" if at < 0 else "after the end"
        return OutOfBounds("failed", f"it touches {name}[{at}], {side} of {name}, which has {count} elements")
    return OutOfBounds("failed", "it follows a null pointer" if 0 <= offset < 4096 else WILD)


def matrices(op: str, args: Sequence[Any]) -> list[tuple]:
    """Cut a case into the arguments of several calls: matrices that are stored row by row."""
    if op == "softmax":
        x = args[0]
        return [(np.array(x, order="C").reshape(math.prod(x.shape[:-1]), x.shape[-1]),)]
    a, b = (x.swapaxes(-1, -2) if turn else x for x, turn in zip(args[:2], args[2:], strict=True))
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (np.broadcast_to(x, (*stack, *x.shape[-2:])) for x in (a, b))
    return [(np.array(a[i], order="C"), np.array(b[i], order="C")) for i in np.ndindex(stack)]


def cases(task: Exercise, count: int = CASES_PER_TASK, variant: int = 0) -> dict[str, list[tuple]]:
    """Return the cases of an exercise in C -> {property: list of argument tuples}."""
    drawn = [args for title, some in properties(task.op, count, variant).items() if title in CASE_KINDS
             for args in some]
    every = [part for args in drawn for part in matrices(task.op, args)] + NO_COLUMNS.get(task.op, [])
    kinds = {title: [args for args in every if case_kind(args) == title] for title in CASE_KINDS}
    return {INSIDE: every} | {title: some for title, some in kinds.items() if some} | {STEADY: every[:5]}


def judge(task: Exercise, start: Callable[[], Any], folder: Path | None = None, count: int = CASES_PER_TASK,
          variant: int = 0, **options: Any) -> Verdict:
    """Check a C function as `checker.judge` does; it is "not_graded" if there is no compiler."""
    every = cases(task, count, variant)
    with start() as worker:
        launcher, limits = worker.launcher, worker.limits
    with tempfile.TemporaryDirectory(prefix="tinyllm-") as scratch:
        program = build(Path(folder or ".") / "exercise.c", task.op, scratch, launcher.level)
        if isinstance(program, Failure):
            return Verdict(task.name, program.state, broken=tuple(every), message=program.message,
                           line=program.line)
        kernel = functools.partial(KernelWorker, task.op, launcher, program, limits)
        verdict = checker.judge(task, kernel, every=every, known=KNOWN[task.op], **options)
    message, mistake = verdict.message, verdict.mistake
    if "got nan" in message and (mistake is None or "with nan" in mistake):
        message += "; y is full of NaN before the call: is each element set?"
    return replace(verdict, message=message, line=None)
