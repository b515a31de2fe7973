"""Run a student's C function in a worker, with its arrays between forbidden pages of memory.

Each array is placed once at the end of its pages and once at their beginning, so that the first access beyond
either end is a fault. A handler in C catches the fault and reports the address. Workers import this file, so
it uses only the standard library and NumPy. In a worker, `kernels.py` beside this file is the compiled shared
library, because workers only get files with endings such as .py.

At the isolation level landlock, the pages are made once; then `sandbox.freeze` denies the system calls that
could open or move them, or catch their faults. `elf_symbols` has refused sources that name other code. This
is not full protection: the C code shares a process with Python and NumPy, so it can search their memory to
cheat about its arrays or to call NumPy's matrix product. At the level plain, only accidents are caught.
"""

import ctypes
import math
import mmap
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

# Compiled and linked with the student's file; CALL is the function with its arguments.
GUARD = r"""
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <string.h>

void softmax(float *y, const float *x, long rows, long n);
void matmul(float *y, const float *a, const float *b, long m, long k, long n);

static sigjmp_buf tinyllm_back;
static void *tinyllm_fault;
static volatile int tinyllm_inside;

static void tinyllm_caught(int number, siginfo_t *info, void *context) {
    if (!tinyllm_inside) { /* not the student's: die of it as if nobody had caught it */
        signal(number, SIG_DFL);
        sigaddset(&((ucontext_t *)context)->uc_sigmask, number); /* or, where that is denied, blocked */
        return;
    }
    tinyllm_fault = info->si_addr;
    siglongjmp(tinyllm_back, number);
}

/* Called once, before memory is frozen. */
void tinyllm_catch(void) {
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    static char stack[1 << 16]; /* of its own: the fault may be that the usual one is full */
    struct sigaction ours;
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    memset(&ours, 0, sizeof ours);
    ours.sa_sigaction = tinyllm_caught;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaltstack(&other, NULL);
    for (int i = 0; i < 5; i++) sigaction(numbers[i], &ours, NULL);
}

/* What a failed assert and abort() become. The real ones send a signal, which the fences forbid. */
_Noreturn void tinyllm_abort(void) { siglongjmp(tinyllm_back, SIGABRT); }
_Noreturn void tinyllm_assert_fail(const char *what, const char *file, unsigned line, const char *function) {
    (void)what, (void)file, (void)line, (void)function;
    siglongjmp(tinyllm_back, SIGABRT);
}

int tinyllm_guard(void **fault, float *y, const float *a, const float *b, long m, long k, long n) {
    int number = sigsetjmp(tinyllm_back, 1);
    tinyllm_inside = 1;
    if (number == 0) CALL;
    tinyllm_inside = 0;
    *fault = tinyllm_fault;
    (void)a, (void)b, (void)m, (void)k, (void)n;
    return number;
}
"""
CALLS = {"softmax": "softmax(y, a, m, k)", "matmul": "matmul(y, a, b, m, k, n)"}
NAMES = {"softmax": ("y", "x"), "matmul": ("y", "a", "b")}

ROOM = 2**22  # bytes of the largest operand; untouched pages cost nothing
MARGIN = ROOM  # bytes of forbidden memory on either side
NOTHING = 0  # PROT_NONE
CANARY = 0x5A


class Outside(Exception):
    """The student's function accessed memory outside its arrays."""


class Crash(Exception):
    """The student's function crashed for another reason than an access outside its arrays."""


class Operand:
    """Memory for an array between two margins that nobody may access; the array touches one margin."""

    def __init__(self, libc):
        self.map = mmap.mmap(-1, ROOM + 2 * MARGIN)
        self.bytes = np.frombuffer(self.map, np.uint8)
        self.base = self.bytes.ctypes.data
        for begin in (0, MARGIN + ROOM):
            if libc.mprotect(ctypes.c_void_p(self.base + begin), ctypes.c_size_t(MARGIN), NOTHING):
                raise OSError(ctypes.get_errno(), "mprotect")
        self.require_closed(libc)

    def require_closed(self, libc: ctypes.CDLL) -> None:
        """Raise OSError if the margins are not really closed, as when a filter fakes mprotect's success."""
        reader, writer = os.pipe()
        opened = [libc.write(writer, ctypes.c_void_p(self.base + at), ctypes.c_size_t(1)) == 1
                  for at in (MARGIN - 1, MARGIN + ROOM)]
        os.close(reader)
        os.close(writer)
        if any(opened):
            raise OSError("mprotect did not protect the pages around the arrays: this sandbox blocks it")

    def lay(self, name: str, a: np.ndarray, at_end: bool, constant: bool) -> None:
        """Copy an array into this memory. constant: True if the function may only read it."""
        room = max(-(-a.nbytes // mmap.PAGESIZE), 1) * mmap.PAGESIZE
        if room > ROOM:
            raise ValueError(f"{name} has more than {ROOM >> 20} MiB")
        low = MARGIN + (ROOM - room if at_end else 0)
        self.name, self.size, self.pages = name, a.nbytes, (low, low + room)
        self.first = low + (room - a.nbytes if at_end else 0)
        self.bytes[low : low + room] = CANARY
        self.bytes[self.first : self.first + self.size] = np.frombuffer(a.tobytes(), np.uint8)
        self.before = self.bytes[low : low + room].copy()
        self.start, self.constant = self.base + self.first, constant

    def where(self, address: int) -> str | None:
        """Describe an address in this memory or its margins; return None for any other address."""
        if not self.base <= address < self.base + len(self.bytes):
            return None
        at, n = (address - self.start) // 4, self.size // 4
        side = "before the beginning" if at < 0 else "after the end"
        return f"it touches {self.name}[{at}], {side} of {self.name}, which has {n} elements"

    def out_of_bounds(self) -> str | None:
        """Describe a forbidden write into this memory; return None if there was none."""
        low, high = self.pages
        changed = self.bytes[low:high] != self.before
        if not self.constant:
            changed[self.first - low : self.first - low + self.size] = False
        if not changed.any():
            return None
        at = (int(np.flatnonzero(changed)[0]) + low - self.first) // 4
        if 0 <= at < self.size // 4:
            return f"it writes into {self.name}, which is const: element {at}"
        side = "before the beginning" if at < 0 else "after the end"
        return f"it writes to {self.name}[{at}], {side} of {self.name}, which has {self.size // 4} elements"

    def values(self, shape: tuple) -> np.ndarray:
        """Return a copy of the array in this memory."""
        return self.bytes[self.first : self.first + self.size].view(np.float32).reshape(shape).copy()


def call_guarded(name: str, shape: tuple, inputs: list[np.ndarray], sizes: list[int],
                 at_end: bool) -> np.ndarray:
    """Call the C function and return y; arrays are at the end (`at_end`) or the beginning of their pages.

    Raises Outside or Crash.
    """
    arrays = [np.full(shape, np.nan, np.float32), *inputs]
    operands = OPERANDS[: len(arrays)]
    for operand, called, a in zip(operands, NAMES[name], arrays, strict=True):
        operand.lay(called, a, at_end, constant=operand is not operands[0])
    fault = ctypes.c_void_p()
    pointers = [ctypes.c_void_p(operand.start) for operand in operands]
    pointers += [ctypes.c_void_p()] * (3 - len(pointers))
    number = LIBRARY.tinyllm_guard(ctypes.byref(fault), *pointers, *(ctypes.c_long(size) for size in sizes))
    if number:
        raise failure(number, fault.value or 0, operands)
    for operand in operands:
        if stray := operand.out_of_bounds():
            raise Outside(stray)
    return operands[0].values(shape)


def failure(number: int, address: int, operands: list[Operand]) -> Outside | Crash:
    """Return the exception, Outside or Crash, for a signal that the student's function caused."""
    if number in (signal.SIGSEGV, signal.SIGBUS):
        for operand in operands:
            if said := operand.where(address):
                return Outside(said)
        if address < 4096:
            return Outside("it follows a null pointer")
        return Outside("it touches memory far from its arrays: a wild index, or a recursion without end")
    if number == signal.SIGFPE:
        return Crash("it divides a whole number by zero")
    if number == signal.SIGABRT:
        return Crash("it calls abort(), as an assert does that fails")
    return Crash(signal.strsignal(number))


def twice(name: str, shape: tuple, inputs: list[np.ndarray], sizes: list[int] | tuple) -> np.ndarray:
    """Call the C function with arrays at the end of their pages, then at the beginning; return y.

    Raises Outside or Crash, and Outside if the two results differ.
    """
    sizes = [*sizes, *[0] * (3 - len(sizes))]
    first, second = (call_guarded(name, shape, inputs, sizes, at_end) for at_end in (True, False))
    if not np.allclose(first, second, rtol=1e-3, atol=1e-5, equal_nan=True):  # alignment may change sums
        raise Outside("its result depends on what lies beside its arrays: it reads what is not there")
    return first


def softmax(x: np.ndarray) -> np.ndarray:
    """Compute softmax with the student's C function: x (..., n) -> y (..., n)."""
    [(rows,)] = matrices("softmax", [x])
    return twice("softmax", rows.shape, [rows], rows.shape).reshape(x.shape)


def matmul(*args: Any) -> np.ndarray:
    """Compute the op matmul with the student's C function, which multiplies one pair of matrices."""
    a, b = stacks(*args)
    y = np.empty((*a.shape[:-1], b.shape[-1]), np.float32)
    for i, (one, other) in zip(np.ndindex(y.shape[:-2]), matrices("matmul", args), strict=True):
        y[i] = twice("matmul", y.shape[-2:], [one, other], [*one.shape, y.shape[-1]])
    return y


def matrices(op: str, args: Sequence[Any]) -> list[tuple]:
    """Cut the arguments of a case into matrices; return the arguments of each call of a C function."""
    if op == "softmax":
        x = args[0]
        return [(np.array(x, order="C").reshape(math.prod(x.shape[:-1]), x.shape[-1]),)]
    a, b = stacks(*args)
    return [(np.array(a[i], order="C"), np.array(b[i], order="C")) for i in np.ndindex(a.shape[:-2])]


def stacks(a: np.ndarray, b: np.ndarray, transpose_a: bool = False,
           transpose_b: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the two stacks of matrices to multiply, broadcast to equal length."""
    a, b = (x.swapaxes(-1, -2) if turn else x for x, turn in ((a, transpose_a), (b, transpose_b)))
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return np.broadcast_to(a, (*stack, *a.shape[-2:])), np.broadcast_to(b, (*stack, *b.shape[-2:]))


def choose(which: int) -> None:
    """Select the kernel to call by its number in a compiled `answer_keys.catalogue`."""
    ctypes.c_int.in_dll(LIBRARY, "tinyllm_which").value = which


def library() -> ctypes.CDLL:
    """Load the compiled shared library beside this file."""
    return ctypes.CDLL(os.path.join(os.path.dirname(os.path.abspath(__file__)), "kernels.py"))


def speed(name: str, seconds: float = 0.3) -> float:
    """Return the speed of a student's function without guard pages, in GFLOP/s (matmul) or GB/s (softmax)."""
    function, rng = getattr(library(), name), np.random.default_rng(0)
    n = 512 if name == "matmul" else 1024
    y, a, b = (rng.standard_normal((n, n), dtype=np.float32) for _ in "yab")
    operands = (y, a, b) if name == "matmul" else (y, a)
    args = [ctypes.c_void_p(x.ctypes.data) for x in operands] + [ctypes.c_long(n)] * len(operands)
    work = 2 * n**3 if name == "matmul" else 8 * n * n
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        function(*args)
        best = max(best, work / (time.perf_counter() - start) / 1e9)
    return best


if __name__ == "__main__":
    os.write(1, str(speed(sys.argv[1])).encode())
elif __name__ == "exercise":  # the name of the module in a worker, which is restricted by now
    LIBRARY = library()
    OPERANDS = [Operand(ctypes.CDLL(None, use_errno=True)) for _ in range(3)]
    LIBRARY.tinyllm_catch()
    sys.modules["_tinyllm_sandbox"].freeze()
