"""Compile a student's `exercise.c` into a program, and judge its functions on the cases of the ops.

The program is `driver.c` with the student's file. A worker runs it like any other exercise, and it answers in
the same frames. This file cuts the cases of ops into single matrices, which C functions take, and describes
an access outside of the arrays in words.
"""

import contextlib
import functools
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyllm.course import checker
from tinyllm.course.answer_keys import catalogue
from tinyllm.course.checker import Verdict
from tinyllm.course.drawing import CASES_PER_TASK, properties
from tinyllm.course.failures import INSIDE, OutOfBounds
from tinyllm.course.syllabus import Exercise
from tinyllm.course.workers import LIMITS, Failure, Launcher, Worker, printable, without_scratch
from tinyllm.errors import UserError
from tinyllm.files import open_regular, read_bytes, read_text
from tinyllm.testing.properties import ARGUMENTS, FORM, VIEWS

FLAGS = ("-std=c11", "-O3", "-march=native", "-Wall",
         "-Dabort=tinyllm_abort", "-D__assert_fail=tinyllm_assert_fail")  # see driver.c
CALLS = {"softmax": "softmax(y, a, m, k)", "matmul": "matmul(y, a, b, m, k, n)"}  # with the names of driver.c
NAMES = {"softmax": ("y", "x"), "matmul": ("y", "a", "b")}
LARGEST = (2**22 - 2**12) // 4  # elements of an array: the room in driver.c
TIMED = {"softmax": (1024, lambda n: 8 * n * n), "matmul": (512, lambda n: 2 * n**3)}  # n; bytes, operations
BESIDE = "its result depends on what lies beside its arrays: it reads what is not there"
WILD = "it touches memory far from its arrays: a wild index, or a recursion without end"
SIGNALS = {int(signal.SIGFPE): "it divides a whole number by zero",
           int(signal.SIGABRT): "it calls abort(), as an assert does that fails"}
MAX_SOURCE = 2**18  # bytes
COMPLAINT = "[Ee]rror:|undefined|multiple definition"  # of the compiler or the linker, without a line
COMPILE_SECONDS = 300  # by the clock; the processor time in sandbox.py ends it sooner
MEASURE_SECONDS = 60
NO_COLUMNS = {"softmax": [(np.zeros((3, 0), np.float32),)]}  # which functions in Python do not get
MEANINGLESS = (FORM, VIEWS, ARGUMENTS)  # properties that C functions, which get plain matrices, cannot break
NONE = ("no C compiler here; install one: `sudo apt install gcc`, `sudo dnf install gcc`, or "
        "`xcode-select --install` on a Mac")
if sys.platform == "win32":  # driver.c is POSIX
    NONE = "C functions are run on Linux and macOS only; on Windows, in its Linux (`wsl --install`)"


def find_compiler() -> str | None:
    """Return the absolute path of the system's C compiler, or None."""
    if sys.platform == "win32":
        return None
    return next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)


def build(source: str, op: str, folder: str | Path, level: str, home: str | Path) -> Path | Failure:
    """Compile a C source in a folder; return the path of the program, or a Failure.

    home: the folder of the student's headers.
    """
    folder = Path(folder)
    (folder / "exercise.c").write_text(source, "utf-8")
    for header in sorted(Path(home).glob("*.h"))[:20]:
        if header.is_file() and not header.is_symlink() and header.stat().st_size <= MAX_SOURCE:
            shutil.copyfile(header, folder / header.name)
    shutil.copyfile(Path(__file__).with_name("driver.c"), folder / "driver.c")
    call = f"-DTINYLLM_CALL={CALLS[op]}"
    failure = compile_in(folder, level, [call, "-o", "program", "exercise.c", "driver.c", "-lm"])
    return failure or folder / "program"


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
    first = next((line for line in said.splitlines() if re.search(COMPLAINT, line)), said)
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
    n, work = TIMED[op]
    with tempfile.TemporaryDirectory(prefix="tinyllm-") as scratch:
        program = build(source, op, scratch, "plain", folder)
        if isinstance(program, Failure):
            return program.message
        command = [str(program), "time", str(n)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=MEASURE_SECONDS)
            return work(n) / float(done.stdout.split()[-1]) / 1e9
        except (ValueError, IndexError, subprocess.TimeoutExpired):
            return "it did not come to its end; `tinyllm check 10` says why"


class KernelWorker(Worker):
    """A worker that runs a compiled C function, and is called with the arguments of its op."""

    def __init__(self, op: str, launcher: Launcher, program: Path, limits: dict[str, float]):
        self.op = op
        super().__init__(launcher, program.resolve(), LIMITS | limits)

    def call(self, function: str, args: Sequence[Any], send_args: bool = False, names: Sequence[str] = (),
             which: int = 0) -> Any:
        """Call the C function for each matrix of a case, and return the op's value or a Failure.

        which: the kernel to run, if the program contains a `catalogue`.
        """
        shape, pieces = matrices(self.op, args)
        parts = []
        for inputs in pieces:
            part = self.run(inputs, which)
            if isinstance(part, Failure):
                return part
            parts.append(part)
        value = np.array(parts, np.float32).reshape(shape)
        return (value, list(args)) if send_args else value

    def run(self, inputs: tuple[np.ndarray, ...], which: int) -> np.ndarray | Failure:
        """Call the C function once with one or two matrices, and return the elements of y or a Failure."""
        (m, k), n = inputs[0].shape, inputs[-1].shape[1]
        counts = [m * n, *(a.size for a in inputs)]
        if max(counts) > LARGEST:
            raise ValueError(f"an array of {max(counts):,} elements is too large for driver.c")
        numbers = [m, k, n, which, *counts, *[0] * (3 - len(counts))]
        answer = super().call(self.op, [np.array(numbers, np.int64), *inputs])
        if isinstance(answer, Failure):
            return answer
        if not is_answer(answer):
            return Failure("failed", f"the answer of {self.op} cannot be read")
        (number, operand, offset), ys = answer[0].tolist(), answer[1]
        if number or operand >= 0:
            return fault(number, offset, list(zip(NAMES[self.op], counts, strict=True)), operand)
        if ys.shape != (2, counts[0]):
            return Failure("failed", f"the answer of {self.op} cannot be read")
        if not np.allclose(ys[0], ys[1], rtol=1e-3, atol=1e-5, equal_nan=True):  # alignment may change sums
            return OutOfBounds("failed", BESIDE)
        return ys[0]


def is_answer(answer: Any) -> bool:
    """Return True if an answer is a list of three whole numbers and float32 numbers, each in an array."""
    if not (isinstance(answer, list) and len(answer) == 2 and all(isinstance(a, np.ndarray) for a in answer)):
        return False
    return [a.dtype for a in answer] == [np.int64, np.float32] and answer[0].shape == (3,)


def fault(number: int, offset: int, operands: list[tuple[str, int]], operand: int) -> Failure:
    """Say what a C function did wrong.

    number: the signal that it caused, 0 for a write beside y; operands: (name, number of elements) of each.
    operand: in which one, or -1; offset: where in this array, in bytes, or else the address.
    """
    if number not in (0, signal.SIGSEGV, signal.SIGBUS):
        known = signal.strsignal(number) if number in signal.valid_signals() else None
        return Failure("failed", SIGNALS.get(number) or known or "it crashes")
    if 0 <= operand < len(operands):
        (name, count), at = operands[operand], offset // 4
        if operand > 0 and 0 <= at < count:  # y may be written
            return OutOfBounds("failed", f"it writes into {name}, which is const: element {at}")
        side = "before the beginning" if at < 0 else "after the end"
        verb = "touches" if number else "writes to"
        return OutOfBounds("failed", f"it {verb} {name}[{at}], {side} of {name}, which has {count} elements")
    return OutOfBounds("failed", "it follows a null pointer" if 0 <= offset < 4096 else WILD)


def matrices(op: str, args: Sequence[Any]) -> tuple[tuple, list[tuple]]:
    """Cut a case into matrices; return the shape of the result, and the inputs of each call."""
    if op == "softmax":
        x = args[0]
        return x.shape, [(np.array(x, order="C").reshape(math.prod(x.shape[:-1]), x.shape[-1]),)]
    a, b = stacks(*args)
    stack = a.shape[:-2]
    inputs = [(np.array(a[i], order="C"), np.array(b[i], order="C")) for i in np.ndindex(stack)]
    return (*stack, a.shape[-2], b.shape[-1]), inputs


def stacks(a: np.ndarray, b: np.ndarray, transpose_a: bool = False,
           transpose_b: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the two stacks of matrices to multiply, broadcast to equal length."""
    a, b = (x.swapaxes(-1, -2) if turn else x for x, turn in ((a, transpose_a), (b, transpose_b)))
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return np.broadcast_to(a, (*stack, *a.shape[-2:])), np.broadcast_to(b, (*stack, *b.shape[-2:]))


@functools.cache
def compiled_mistakes(op: str, level: str) -> bytes:
    """Compile the known wrong kernels of an op, once per process; return the program.

    Raises ValueError if they do not compile.
    """
    with tempfile.TemporaryDirectory(prefix="tinyllm-") as folder:
        program = build(catalogue(op)[1], op, folder, level, folder)
        if isinstance(program, Failure):
            raise ValueError(program.message)
        return read_bytes(program)


@contextlib.contextmanager
def known_mistakes(launcher: Launcher, op: str, folder: Path) -> Iterator[list[tuple]]:
    """Open a context with the known mistakes of a kernel as pairs (sentence, function), for `checker.judge`.

    The mistakes are compiled in `folder` when a function is first called. A function returns the results of a
    wrong kernel, or a message if the kernel accesses memory outside its arrays.
    """
    with contextlib.ExitStack() as stack:

        @functools.cache
        def worker():
            program = folder / "program"
            program.write_bytes(compiled_mistakes(op, launcher.level))
            program.chmod(0o700)
            return stack.enter_context(KernelWorker(op, launcher, program, {}))

        def run(which, *args):
            answer = worker().call(op, args, which=which)
            if isinstance(answer, Failure) and not isinstance(answer, OutOfBounds):
                raise ValueError(answer.message)
            return answer.message if isinstance(answer, Failure) else answer

        yield [(said, functools.partial(run, i)) for i, said in enumerate(catalogue(op)[0])]


def cases(task: Exercise, count: int = CASES_PER_TASK, variant: int = 0) -> dict[str, list[tuple]]:
    """Return the cases of an exercise in C -> {property: list of argument tuples}."""
    found = properties(task.op, count, variant)
    every = [args for some in found.values() for args in some] + NO_COLUMNS.get(task.op, [])
    return {INSIDE: every} | {title: some for title, some in found.items() if title not in MEANINGLESS}


def judge(task: Exercise, start: Callable[[], Any], folder: Path | None = None, count: int = CASES_PER_TASK,
          variant: int = 0, first: Callable[[str, str], Any] = lambda task, message: None,
          **options: Any) -> Verdict:
    """Check a C function. The arguments are as in `checker.judge`.

    folder: contains exercise.c. The state is "blocked" if this machine has no compiler.
    """
    every, path = cases(task, count, variant), Path(folder or ".") / "exercise.c"
    untried = functools.partial(Verdict, task.name, broken=tuple(every))
    if not path.exists():
        return untried("not_attempted", message="there is no exercise.c")
    try:
        source = read_text(path, MAX_SOURCE)
    except UserError as error:
        return untried("failed", message=str(error).replace(f"{path.parent}{os.sep}", ""))
    if not has_body(source, task.op):
        return untried("not_attempted")
    if not find_compiler():
        return untried("blocked", message=NONE)
    with start() as worker:
        launcher, limits = worker.launcher, worker.limits
    with tempfile.TemporaryDirectory(prefix="tinyllm-") as scratch, tempfile.TemporaryDirectory() as other:
        program = build(source, task.op, scratch, launcher.level, path.parent)
        if isinstance(program, Failure):
            return untried(program.state, message=program.message, line=program.line)
        with known_mistakes(launcher, task.op, Path(other)) as known:
            options |= {"every": every, "known": known, "cut": lambda args: matrices(task.op, args)[1],
                        "first": lambda _, message: first(task.name, message)}
            kernel = functools.partial(KernelWorker, task.op, launcher, program, limits)
            verdict = checker.judge(Exercise(task.op, task.op), kernel, **options)
    message = verdict.message
    if "got nan" in message and not verdict.mistake:
        message += "; y is full of NaN before the call: is each element set?"
    return replace(verdict, task=task.name, message=message, line=None)
