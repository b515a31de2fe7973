"""Run kernels at guard pages; require the same bits on each instruction set and number of threads.

The cases are those of `tinyllm.testing`, some with infinities, NaN and subnormals among the numbers. Operands
are read-only and end (or begin) at a page without access; verify_sanitizers.py checks results and scratch
memory. With TINYLLM_EXAMPLES=500, as in `make verify`, one more level is tried: AVX2 with the arithmetic of
NEON.
"""

import copy
import ctypes
import mmap
import os
import re
import runpy
import signal
from itertools import product

import numpy as np
import pytest
from busy import in_child
from native import CAN_COMPILE, CSRC, HERE, library

from tinyllm import Random, ops
from tinyllm.ops import OPS
from tinyllm.ops.registry import _compiled
from tinyllm.testing.catalog import draw_cases
from tinyllm.testing.check import bits
from tinyllm.testing.relations import parameters

pytestmark = [pytest.mark.skipif(_compiled is None, reason="no kernels are built"), pytest.mark.hypothesis,
              pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")]
COUNT = int(os.environ.get("TINYLLM_EXAMPLES", 15)) // 2  # cases of each op
WAYS = [(name, backend) for name, op in OPS.items() for backend in ("compiled", "bf16")
        if backend in op.implementations]
REFUSALS = TypeError, ValueError, IndexError, ArithmeticError
SPECIAL = np.array([np.inf, -np.inf, np.nan, 1e-40, -0.0, 3e38], np.float32)
FAULTS = signal.SIGSEGV, signal.SIGBUS
SETTINGS = (1, "guarded"), (3, "guarded before")  # threads, placing of operands


def guarded(a, end=True):
    """Copy an array to memory that nobody may write, in front of a page that nobody may read, or behind one.

    An access beyond that side, or a write, ends the process (on Linux and macOS; see `faulthandler`).
    """
    page, a = mmap.PAGESIZE, np.ascontiguousarray(a) if a.ndim else np.array(a)
    inner = -(-a.nbytes // page) * page
    memory = mmap.mmap(-1, inner + 2 * page)
    copy = np.frombuffer(memory, a.dtype, a.size, page + (inner - a.nbytes if end else 0)).reshape(a.shape)
    copy[...] = a
    start = np.frombuffer(memory, np.uint8).ctypes.data
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for first, length, allowed in ((0, page, 0), (page, inner, mmap.PROT_READ), (page + inner, page, 0)):
        if length and protect(ctypes.c_void_p(start + first), ctypes.c_size_t(length), allowed):
            raise OSError(ctypes.get_errno(), "pages cannot be protected")
    copy.flags.writeable = False
    return copy


GUARDED = {"guarded": guarded, "guarded before": lambda a: guarded(a, end=False)}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Return ({level: address of its kernels}, the variable that holds the address in use)."""
    kernels = ctypes.CDLL(_compiled.__file__, ctypes.RTLD_GLOBAL)  # level_narrow.c needs its symbols
    active, found = ctypes.c_void_p.in_dll(kernels, "kernels"), {}
    for level in reversed(_compiled.levels()):  # the best level stays in use
        _compiled.use_level(level)
        found[level] = active.value
    if COUNT > 100 and CAN_COMPILE and "avx2" in found:
        built = library("narrow.so", [HERE / "level_narrow.c"], tmp_path_factory.mktemp("narrow"), "-O1")
        found["narrow"] = ctypes.addressof(ctypes.c_char.in_dll(ctypes.CDLL(built), "kernels_narrow"))
    return found, active


def cases(name):
    """Draw cases of an op; in every second case, a sixteenth of the numbers are infinite, NaN or extreme."""
    for seed, args in enumerate(draw_cases(name, COUNT) + draw_cases(name, 2, empty=True)):
        args, random = [*map(copy.deepcopy, args)], Random(seed, "special")
        for a in args if seed % 2 else ():
            if isinstance(a, np.ndarray) and a.dtype == np.float32 and a.size:
                a[random.uniform(a.shape) < 1 / 16] = SPECIAL[seed // 2 % SPECIAL.size]
        yield args


def placed(value, layout):
    """Copy the arrays of an argument to guard pages."""
    if isinstance(value, list):
        return [placed(each, layout) for each in value]
    return GUARDED[layout](value) if isinstance(value, np.ndarray) else value


def canonical(x):
    """Return an array with the same bits for all NaN; a sum may pass on the bits of either of two."""
    is_float = isinstance(x, np.ndarray) and x.dtype.kind == "f"
    return np.where(np.isnan(x), np.float32(np.nan), x) if is_float else x


def outcome(name, backend, args, layout):
    """Return the bits of the results, or the error that refuses the arguments. All NaN are alike."""
    changed = OPS[name].mutates
    values = {argument: value.copy() if argument in changed else placed(value, layout)
              for argument, value in zip(parameters(name), args, strict=False)}
    try:
        results = OPS[name].checked(backend)(*values.values())
    except REFUSALS as error:
        return repr(error)
    results = [values[argument] for argument in changed] or results
    return bits([canonical(x) for x in (results if isinstance(results, tuple | list) else [results])])


@pytest.mark.parametrize("name, backend", WAYS)
def test_no_kernel_leaves_its_operands_and_all_levels_agree(name, backend, tables):
    """The kernels run in a forked child, which a fault ends. In bf16, levels may differ."""
    levels, active = tables

    def agree():
        for args in cases(name):
            first = {}
            for (level, table), (threads, layout) in product(levels.items(), SETTINGS):
                active.value = table
                _compiled.threads(threads)
                found = outcome(name, backend, args, layout)
                if first.setdefault(level if backend == "bf16" else "all", found) != found:
                    return False
        return True

    assert in_child(agree) == 0


def test_every_kernel_of_the_table_is_called():
    table = re.findall(r"^    X\(\w+, \w+, (\w+),", (CSRC / "tinyllm.h").read_text(), re.MULTILINE)
    glue = "".join(path.read_text() for path in CSRC.glob("glue/*.p*") if path.stem != "_kernels")
    bindings = runpy.run_path(str(CSRC / "bindings.py"))
    glue += "".join(bindings["function"](*kernel[1:]) for kernel in bindings["kernels"]())
    assert table and not [name for name in table if not re.search(rf"\b(run_|kernels\.){name}\b", glue)]


@pytest.mark.parametrize("length", (1, 33, 5000))
@pytest.mark.parametrize("touch, layout", [  # reads after and before it, a write
    (lambda start, n: ctypes.string_at(start + n, 1), "guarded"),
    (lambda start, n: ctypes.string_at(start - 1, 1), "guarded before"),
    (lambda start, n: ctypes.memset(start, 0, 1), "guarded"),
])
def test_a_guarded_array_is_read_inside_alone(touch, layout, length):
    child = os.fork()
    if child == 0:
        a = GUARDED[layout](np.arange(length, dtype=np.float32))
        for fault in FAULTS:
            signal.signal(fault, signal.SIG_DFL)
        if a.sum() == length * (length - 1) / 2:
            touch(a.ctypes.data, a.nbytes)
        os._exit(7)
    assert -os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in FAULTS


def test_the_lanes_behind_a_row_do_not_reach_it():
    """A past bug: lanes filled with 0 instead of the mean gave (0 - mean) rstd = inf, and inf * 0 is NaN."""
    x, ones = np.full((2, 5), 2.0**120, np.float32), np.ones(5, np.float32)
    dy = np.arange(10, dtype=np.float32).reshape(2, 5)
    _, mean, rstd = ops.layernorm.compiled(x, ones, ones, 1e-12)
    dx, *_ = ops.layernorm_backward.compiled(dy, x, ones, mean, rstd)
    assert np.array_equal(dx, rstd[:, None] * (dy - dy.mean(axis=-1, keepdims=True)))
