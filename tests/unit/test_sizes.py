"""Check sizes whose product overflows 64 bits: they are refused in one line, or done at once if empty.

An empty array costs nothing, so its other axes may be of any length. Each case runs in a child process,
because it may crash or never end.
"""

import os
import signal

import numpy as np
import pytest
from busy import in_child

from tinyllm.ops.registry import _compiled

pytestmark = [pytest.mark.skipif(_compiled is None, reason="the kernels are not built"),
              pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")]
MANY = 2**60
T, D = 3 * 257 * 641, 65537 * 6700417  # 85 T D + 1 is 2**64, or 0 in 64 bits


def void(*shape):
    assert 0 in shape
    return np.zeros(shape, np.float32)


def full(*shape):
    return np.ones(shape, np.float32)


# "op" or "op, what is special" -> its arguments. There is a case for each form of loop.
CASES = {
    **{name: (void(MANY, 0), *rest) for name, rest in {
        "softmax": (), "gelu": (), "top_k": (2**70,), "top_p": (0.5,), "min_p": (0.5,), "sample": (0.5,),
        "repetition_penalty": (np.zeros(0, np.int64), 2.0), "layernorm": (void(0), void(0)),
        "softmax_backward": (void(MANY, 0),), "add": (void(MANY, 0),), "matmul, no columns": (void(0, 0),),
        "matmul, no depth": (void(0, MANY),), "matmul_backward": (void(MANY, 0), void(0, 0)),
        "linear": (void(0, 2**40),), "linear_backward": (void(MANY, 0), void(0, 0)),
        "embedding": (np.arange(3),),
    }.items()},
    "attention, no batch": (void(0, 85, 1, D), void(0, T, 1, D), void(0, T, 1, D)),
    "attention, no heads": (void(1, 85, 0, 5), full(1, 3, 1, 5), full(1, 3, 1, 5)),
    "attention_backward, wide": (*[void(1, 0, 1, 2**58)] * 5, void(1, 1, 0)),
    "rope": (void(2**30, 2**30, 1, 0), void(2**30, 0), void(2**30, 0)),
    "matmul, a long stack": (void(2**31, 1, 0, 1), void(1, 2**31, 1, 0)),
    "embedding_backward, 2**64": (full(3, 1), np.arange(3), 2**64 + 3),
    "embedding_backward, negative": (void(0, 5), np.arange(0), -1),
    "grad_norm": ([void(MANY, 0)],),
    "token_losses": (void(MANY // 2, 0), np.broadcast_to(np.int64(-100), (MANY // 2,))),
}
REFUSALS = (MemoryError, ValueError, OverflowError)


def done_or_refused(op, *args):
    """Return True if an op ends on these arguments, or refuses them in one line."""
    try:
        op(*args)
    except REFUSALS as error:
        return str(error).count("\n") == 0 < len(str(error))
    return True


@pytest.mark.parametrize("case", CASES)
def test_sizes_that_cannot_be_counted_are_refused(case):
    op = getattr(_compiled, case.partition(",")[0])
    assert in_child(lambda: done_or_refused(op, *CASES[case]), 20) == 0  # an endless loop is killed


def test_crashes_and_other_errors_are_noticed():
    assert in_child(lambda: os.kill(os.getpid(), signal.SIGTERM)) == -signal.SIGTERM
    assert in_child(lambda: done_or_refused(_compiled.softmax, 3)) == 1
