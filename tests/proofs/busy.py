"""Keep the kernels' threads busy: in this process, in the child of a fork, and in other interpreters."""

import ctypes
import os
import signal
import sys

import numpy as np
from native import HERE, run

from tinyllm.ops.registry import _compiled
from tinyllm.rng import Random


def services():
    """Return the library of csrc/: a preloaded build if there is one, or else the extension."""
    preloaded = ctypes.CDLL(None)
    return preloaded if hasattr(preloaded, "pool_take") else ctypes.CDLL(_compiled.__file__)


def work():
    """Return the bytes of results that are large enough to be divided among threads, in different ways."""
    x = Random(0, "work").normal(700 * 130).reshape(700, 130)
    w = Random(1, "work").normal(130 * 90).reshape(130, 90)
    q = Random(2, "work").normal(2 * 65 * 4 * 16).reshape(2, 65, 4, 16)
    ids = Random(3, "work").integers(50, 700)
    y = _compiled.matmul(x, w)
    results = [y, _compiled.softmax(x), *_compiled.attention(q, q, q), _compiled.top_k(x, 7),
               _compiled.embedding_backward(x, ids, 50), np.float64(_compiled.grad_norm([x, w, y]))]
    return b"".join(result.tobytes() for result in results)


def in_child(body, seconds=120):
    """Fork and run the body in the child -> its exit code: 0 if it returns True, 2 if not, 1 after an error.

    SIGALRM ends a child that takes longer; then the code is minus its number.
    """
    child = os.fork()
    if child == 0:
        status = 1
        signal.alarm(seconds)
        try:
            status = 0 if body() else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# Programs that end an interpreter while eight threads compute, or just after.
EXITS = {
    "at the end": "work()",
    "by sys.exit": "work(); sys.exit(0)",
    "by os._exit": "work(); os._exit(0)",
    "while another thread computes": "threading.Thread(target=forever, daemon=True).start(); work()",
    "computing to the last": "atexit.register(work); work()",
    "in the child of a fork": "work(); os.fork() or work()",
}
PROGRAM = """
import atexit, os, sys, threading, time, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
from busy import _compiled, work

def forever():
    while True:
        work()

_compiled.threads(8)
"""


def leave(way, timeout=300):
    """Start an interpreter that ends in one of the ways; return its exit code and what it printed."""
    last = EXITS.get(way, "work(); time.sleep(1000)")
    return run([sys.executable, "-c", PROGRAM + last, HERE], timeout)
