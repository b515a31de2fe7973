"""Check sizes whose product 64 bits cannot hold: refused in one line, or done at once if nothing is to do.

An empty array costs nothing, so its other axes may be of any length. Each case runs in a child process,
because what is looked for are crashes and loops without end.
"""

import os
import signal

import numpy as np
import pytest

from tinyllm.ops.registry import _compiled

pytestmark = pytest.mark.skipif(_compiled is None, reason="the kernels are not built")
MANY = 2**60
T, D = 3 * 257 * 641, 65537 * 6700417  # 85 T D + 1 is 2**64, which 64 bits take for 0


def void(*shape):
    assert 0 in shape
    return np.zeros(shape, np.float32)


def full(*shape):
    return np.ones(shape, np.float32)


CASES = {
    "attention, no batch": lambda c: c.attention(void(0, 85, 1, D), void(0, T, 1, D), void(0, T, 1, D)),
    "attention, no heads": lambda c: c.attention(void(1, 85, 0, 5), full(1, 3, 1, 5), full(1, 3, 1, 5)),
    "attention, wide": lambda c: c.attention(*[void(1, 0, 1, 2**58)] * 3),
    "attention_backward, no batch": lambda c: c.attention_backward(
        void(0, 85, 1, D), void(0, 85, 1, D), void(0, T, 1, D), void(0, T, 1, D), void(0, 85, 1, D),
        void(0, 1, 85)),
    "attention_backward, wide": lambda c: c.attention_backward(*[void(1, 0, 1, 2**58)] * 5, void(1, 1, 0)),
    "softmax": lambda c: c.softmax(void(MANY, 0)),
    "softmax_backward": lambda c: c.softmax_backward(void(MANY, 0), void(MANY, 0)),
    "log_softmax": lambda c: c.log_softmax(void(MANY, 0)),
    "log_softmax_backward": lambda c: c.log_softmax_backward(void(MANY, 0), void(MANY, 0)),
    "layernorm": lambda c: c.layernorm(void(MANY, 0), void(0), void(0)),
    "rmsnorm": lambda c: c.rmsnorm(void(MANY, 0), void(0)),
    "token_losses": lambda c: c.token_losses(
        void(MANY, 0), np.broadcast_to(np.int64(-100), (MANY,))),
    "rope": lambda c: c.rope(void(2**30, 2**30, 1, 0), void(2**30, 0), void(2**30, 0)),
    "rope_backward": lambda c: c.rope_backward(void(2**30, 2**30, 1, 0), void(2**30, 0), void(2**30, 0)),
    "rope, no batch": lambda c: c.rope(void(0, 1, 2**40, 2), full(1, 1), full(1, 1)),
    "matmul, no depth": lambda c: c.matmul(void(MANY, 0), void(0, MANY)),
    "matmul, no columns": lambda c: c.matmul(void(MANY, 0), void(0, 0)),
    "matmul, a long stack": lambda c: c.matmul(void(2**31, 1, 0, 1), void(1, 2**31, 1, 0)),
    "matmul_backward": lambda c: c.matmul_backward(void(MANY, 0), void(MANY, 0), void(0, 0)),
    "linear": lambda c: c.linear(void(MANY, 0), void(0, 2**40)),
    "linear_backward": lambda c: c.linear_backward(void(MANY, 0), void(MANY, 0), void(0, 0)),
    "embedding": lambda c: c.embedding(void(MANY, 0), np.arange(3)),
    "embedding_backward": lambda c: c.embedding_backward(void(3, 0), np.arange(3), MANY),
    "embedding_backward, 2**64": lambda c: c.embedding_backward(full(3, 1), np.arange(3), 2**64 + 3),
    "embedding_backward, negative": lambda c: c.embedding_backward(void(0, 5), np.arange(0), -1),
    "gelu": lambda c: c.gelu(void(MANY, 0)),
    "add": lambda c: c.add(void(MANY, 0), void(MANY, 0)),
    "grad_norm": lambda c: c.grad_norm([void(MANY, 0)]),
    "top_k": lambda c: c.top_k(void(MANY, 0), 2**70),
    "top_p": lambda c: c.top_p(void(MANY, 0), 0.5),
    "min_p": lambda c: c.min_p(void(MANY, 0), 0.5),
    "repetition_penalty": lambda c: c.repetition_penalty(void(MANY, 0), np.zeros(0, np.int64), 2.0),
    "sample": lambda c: c.sample(void(MANY, 0), 0.5),
}
REFUSALS = (MemoryError, ValueError, OverflowError)


def outcome(body):
    """Run the body in a child: "done", "refused", or how it ended otherwise, after 20 seconds at most."""
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # which ends a loop without end
        try:
            body(_compiled)
            os._exit(0)
        except REFUSALS as error:
            os._exit(1 if str(error) and "\n" not in str(error) else 2)
        except BaseException:
            os._exit(3)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {0: "done", 1: "refused"}.get(code, f"exit code {code}")


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("case", CASES)
def test_sizes_that_cannot_be_counted_are_refused(case):
    assert outcome(CASES[case]) in ("done", "refused")
    if case == "add":  # crashes and other errors are noticed
        assert outcome(lambda c: os.kill(os.getpid(), signal.SIGTERM)) == f"exit code {-signal.SIGTERM}"
        assert outcome(lambda c: c.softmax(3)) == "exit code 3"
