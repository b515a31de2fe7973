"""Run every kernel at guard pages, at every level, with loops cut anywhere: a short verify_kernels.py.

The levels are those of this CPU; the proof has one more, with NEON's arithmetic on AVX2.
"""

import ctypes
import os
import signal
import sys

import numpy as np
import pytest
from native import CAN_COMPILE, HERE, run

from tinyllm import ops
from tinyllm.ops.registry import _compiled
from tinyllm.testing.arrays import GUARDED, arrange

pytestmark = pytest.mark.skipif(
    _compiled is None or not CAN_COMPILE, reason="there is no C compiler, or no kernels are built"
)
FAULTS = signal.SIGSEGV, signal.SIGBUS


@pytest.mark.skipif(sys.platform != "linux", reason="services are replaced by LD_PRELOAD")
def test_no_kernel_leaves_its_operands_and_all_levels_agree():
    code, text = run([sys.executable, HERE / "verify_kernels.py", "--quick"], timeout=600)
    assert code == 0 and "zero faults, one set of bits" in text, text


@pytest.mark.parametrize("length", (1, 33, 5000))
@pytest.mark.parametrize("touch, layout", [  # behind the array, before it, and to write in it
    (lambda start, n: ctypes.string_at(start + n, 1), "guarded"),
    (lambda start, n: ctypes.string_at(start - 1, 1), "guarded before"),
    (lambda start, n: ctypes.memset(start, 0, 1), "guarded"),
])
def test_a_guarded_array_is_read_inside_alone(touch, layout, length):
    child = os.fork()
    if child == 0:
        a = arrange(np.arange(length, dtype=np.float32), layout)
        for fault in FAULTS:
            signal.signal(fault, signal.SIG_DFL)
        if a.sum() == length * (length - 1) / 2:
            touch(a.ctypes.data, a.nbytes)
        os._exit(7)
    assert -os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in FAULTS


@pytest.mark.parametrize("layout", GUARDED)
def test_a_guarded_array_is_the_same_array(layout):
    for a in (np.arange(24.0).reshape(2, 3, 4), np.zeros((3, 0), np.int32), np.float32(3)):
        copy = arrange(np.asarray(a), layout)
        assert np.array_equal(copy, a) and copy.dtype == a.dtype and copy.shape == a.shape


def test_the_lanes_behind_a_row_do_not_reach_it():
    """A past bug: lanes filled with 0, not the mean, gave (0 - mean) rstd = inf, and inf * 0 is NaN."""
    x, ones = np.full((2, 5), 2.0**120, np.float32), np.ones(5, np.float32)
    dy = np.arange(10, dtype=np.float32).reshape(2, 5)
    _, mean, rstd = ops.layernorm.compiled(x, ones, ones, 1e-12)
    dx, *_ = ops.layernorm_backward.compiled(dy, x, ones, mean, rstd)
    assert np.array_equal(dx, rstd[:, None] * (dy - dy.mean(axis=-1, keepdims=True)))
