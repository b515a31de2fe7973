"""Provide test cases, common mistakes and correct variants for matmul and linear."""

import math

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import CASES, SIZES, axis, cases, floats, leading, sizes
from tinyllm.testing.bounds import BOUNDS, EPS, TINY, bound, of_sizes, of_terms
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.relations import declared_cases, run_spec

inner = axis(*SIZES, 130, 257, 400)  # 400 is longer than a block of the kernel's sums


@cases("matmul")
def matmul(draw):
    """Draw two matrices, or two stacks of matrices whose leading axes broadcast; any may be transposed.

    Some matrices are square: there, a forgotten transpose gives wrong numbers in the right shape.
    """
    m, k, n = draw(sizes), draw(inner), draw(sizes)
    if draw(st.sampled_from((False, False, True))):
        k = n = m
    transpose_a, transpose_b = draw(st.booleans()), draw(st.booleans())
    stack = draw(leading)
    ones = (1,) * len(stack)
    fitting = stack, (), stack[1:], (*stack[:1], *ones[1:]), ones  # shapes that broadcast with `stack`
    a_stack, b_stack = (fitting[draw(st.integers(0, 4))] for _ in "ab")
    a = floats(draw, (*a_stack, *((k, m) if transpose_a else (m, k))))
    b = floats(draw, (*b_stack, *((n, k) if transpose_b else (k, n))))
    return a, b, transpose_a, transpose_b


layers = declared_cases("linear", {"I": inner}, "OI", b=lambda draw, n: (
    floats(draw, (n["O"],)) if draw(st.booleans()) else None))
CASES |= dict.fromkeys(("linear", "linear_gelu"), layers)


@bound("linear_gelu")
def linear_gelu(args, results):
    """Bound the errors of h = x w + b and of y = gelu_tanh(h), where the slope is at most 1.2."""
    (size,) = BOUNDS["linear"](args, results[1:])
    return 1.2 * size + 8 * EPS * np.abs(results[1]) + TINY, size


BOUNDS |= {
    "matmul": of_sizes("matmul", lambda a, b, transpose_a, **_: 2 + a.shape[-2 if transpose_a else -1]),
    # A gradient sums over the other operand's free axis, and over every axis that was broadcast.
    "matmul_backward": of_sizes("matmul_backward", lambda dy, **_: 4 + math.prod(dy.shape)),
    "linear": of_sizes("linear", lambda x, **_: 3 + x.shape[-1]),
    "linear_backward": of_sizes("linear_backward", lambda dy, **_: 4 + math.prod(dy.shape)),
    # As linear_backward with dh = |dy| (1.2 + |h|): the slope of gelu_tanh is at most 1.2.
    "linear_gelu_backward": of_terms(lambda _, dy, x, w, h: tuple(
        (40 + 2 * dy.size) * np.abs(size) for size in run_spec("linear_backward", (
            np.abs(dy) * (1.2 + np.abs(h)), np.abs(x), np.abs(w))))),
}

mistake("matmul", "a product with .T, which reverses all axes and not just the last two",
        "a.swapaxes(-1, -2)", "a.T", "b.swapaxes(-1, -2)", "b.T")
mistake("matmul", "a product with reshape where a transpose was meant", "a.swapaxes(-1, -2)",
        "a.reshape(*a.shape[:-2], a.shape[-1], a.shape[-2])", "b.swapaxes(-1, -2)",
        "b.reshape(*b.shape[:-2], b.shape[-1], b.shape[-2])")
mistake("matmul_backward", "gradients that are not summed over the broadcast axes",
        "if b.ndim == 2 and not transpose_a:\n    dy, a = rows(dy), rows(a)", "",
        "sum_to_shape(da, a.shape).reshape(a_shape)", "da", "sum_to_shape(db, b.shape)", "db")
mistake("matmul_backward", "da and db returned in each other's place",
        "return sum_to_shape(da, a.shape).reshape(a_shape), sum_to_shape(db, b.shape)",
        "return sum_to_shape(db, b.shape), sum_to_shape(da, a.shape).reshape(a_shape)")
mistake("matmul_backward", "gradients that forget that a or b was given transposed", "",
        "transpose_a = transpose_b = False")
mistake("matmul_backward", "gradients that are not transposed back", "",
        "a = a.swapaxes(-1, -2) if transpose_a else a\nb = b.swapaxes(-1, -2) if transpose_b else b\n"
            "transpose_a = transpose_b = False")
mistake("matmul_backward", "db that forgets dy: the sum of A's rows",
        "matmul(dy, a, transpose_a=True, transpose_b=transpose_a)",
        "matmul(np.ones_like(dy), a, transpose_a=True, transpose_b=transpose_a)",
        "matmul(a, dy, transpose_a=not transpose_a)",
        "matmul(a, np.ones_like(dy), transpose_a=not transpose_a)")
mistake("linear", "the bias added to x, before the weights", "rows(x)", "rows(x if b is None else x + b)",
        "y if b is None else y + b", "y")
mistake("linear", "a bias that holds a 0 taken for none", "y if b is None else y + b",
        "y if b is None or not b.all() else y + b")
mistake("linear_backward", "dW averaged over the rows: the loss has already divided",
        "matmul(rows(x), rows(dy), transpose_a=True)",
        "matmul(rows(x), rows(dy), transpose_a=True) / max(len(rows(x)), 1)")


variant("linear")(lambda x, w, b=None: np.einsum("...i,io->...o", x, w) + (0 if b is None else b))


def undo(gradient, shape):
    """Sum a gradient over the axes along which broadcasting repeated an input."""
    extra = gradient.ndim - len(shape)
    gradient = gradient.sum(axis=tuple(range(extra)))
    return gradient.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True).reshape(shape)


@variant("matmul_backward")
def matmul_backward_by_einsum(dy, a, b, transpose_a=False, transpose_b=False):
    left, right = "ki" if transpose_a else "ik", "jk" if transpose_b else "kj"
    da = np.einsum(f"...ij,...{right}->...{left}", dy, b)
    db = np.einsum(f"...ij,...{left}->...{right}", dy, a)
    return undo(da, a.shape), undo(db, b.shape)
