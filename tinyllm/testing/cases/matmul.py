"""Cases of matmul and linear."""

import math

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import SIZES, floats, leading, sizes
from tinyllm.testing.bounds import EPS, TINY, of_sizes

inner = st.sampled_from((*SIZES, 130, 257, 400))  # longer than one block of a kernel's inner loop


@st.composite
def matmul(draw):
    """Two matrices or stacks of them, whose leading axes broadcast; either may be given transposed.

    Some are square, where a transpose that is forgotten breaks no shape.
    """
    m, k, n = draw(sizes), draw(inner), draw(sizes)
    if draw(st.sampled_from((False, False, True))):
        k = n = m
    transpose_a, transpose_b = draw(st.booleans()), draw(st.booleans())
    stack = draw(leading)
    a_stack, b_stack = (_broadcasts(stack)[draw(st.integers(0, 4))] for _ in "ab")
    a = floats(draw, (*a_stack, *((k, m) if transpose_a else (m, k))))
    b = floats(draw, (*b_stack, *((n, k) if transpose_b else (k, n))))
    return a, b, transpose_a, transpose_b


def _broadcasts(stack):
    """Shapes that broadcast with `stack`: itself, none, its last axis alone, its first alone, only ones."""
    ones = tuple(1 for _ in stack)
    return stack, (), stack[1:], (*stack[:1], *ones[1:]), ones


@st.composite
def linear(draw):
    """Rows of any number of axes, with and without a bias."""
    wide, narrow = draw(inner), draw(sizes)
    b = floats(draw, (narrow,)) if draw(st.booleans()) else None
    return floats(draw, (*draw(leading), wide)), floats(draw, (wide, narrow)), b


def linear_gelu(args, results):
    """linear's error, which gelu_tanh passes on with a slope below 1.2, and gelu_tanh's own."""
    (size,) = BOUNDS["linear"](args, results[1:])
    return 1.2 * size + 8 * EPS * np.abs(results[1]) + TINY, size


def linear_gelu_backward(args, results):
    """linear_backward's error for a dh as large as dy may become, and the error of dh itself."""
    dy, x, w, h = args
    return of_sizes("linear_backward", lambda dy, **_: 40 + 2 * math.prod(dy.shape))(
        (np.abs(dy) * (1.2 + np.abs(h)), x, w), results
    )


CASES = {"matmul": matmul(), "linear": linear(), "linear_gelu": linear()}
BOUNDS = {
    "matmul": of_sizes("matmul", lambda a, b, transpose_a, **_: 2 + a.shape[-2 if transpose_a else -1]),
    # A gradient sums over the other operand's free axis, and over every axis that was broadcast.
    "matmul_backward": of_sizes("matmul_backward", lambda dy, **_: 4 + math.prod(dy.shape)),
    "linear": of_sizes("linear", lambda x, **_: 3 + x.shape[-1]),
    "linear_backward": of_sizes("linear_backward", lambda dy, **_: 4 + math.prod(dy.shape)),
    "linear_gelu": linear_gelu,
    "linear_gelu_backward": linear_gelu_backward,
}
