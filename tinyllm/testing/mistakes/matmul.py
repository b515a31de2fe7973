"""Mistakes in matmul and linear."""

import numpy as np

from tinyllm.ops import gelu, gelu_tanh, gelu_tanh_backward, linear, linear_backward, matmul_backward
from tinyllm.ops.matmul import rows
from tinyllm.testing.mistake import mistake


def turn(x, transpose):
    """Swap the last two axes, or not."""
    return x.swapaxes(-1, -2) if transpose else x


@mistake("matmul", "a product that ignores transpose_a")
def ignores_transpose_a(a, b, transpose_a=False, transpose_b=False):
    return a @ turn(b, transpose_b)


@mistake("matmul", "a product that ignores transpose_b")
def ignores_transpose_b(a, b, transpose_a=False, transpose_b=False):
    return turn(a, transpose_a) @ b


@mistake("matmul", "a product with .T, which reverses all axes and not just the last two")
def transposes_all_axes(a, b, transpose_a=False, transpose_b=False):
    return (a.T if transpose_a else a) @ (b.T if transpose_b else b)


@mistake("matmul", "a product with reshape where a transpose was meant")
def reshapes(a, b, transpose_a=False, transpose_b=False):
    left = a.reshape(*a.shape[:-2], a.shape[-1], a.shape[-2]) if transpose_a else a
    right = b.reshape(*b.shape[:-2], b.shape[-1], b.shape[-2]) if transpose_b else b
    return left @ right


@mistake("matmul", "np.dot, which pairs every matrix of one stack with every matrix of the other")
def dots_stacks(a, b, transpose_a=False, transpose_b=False):
    return np.dot(turn(a, transpose_a), turn(b, transpose_b))


@mistake("matmul", "the elementwise product a * b")
def multiplies_elements(a, b, transpose_a=False, transpose_b=False):
    return turn(a, transpose_a) * turn(b, transpose_b)


@mistake("matmul_backward", "gradients that are not summed over the broadcast axes")
def keeps_broadcast_axes(dy, a, b, transpose_a=False, transpose_b=False):
    left, right = turn(a, transpose_a), turn(b, transpose_b)
    return turn(dy @ turn(right, True), transpose_a), turn(turn(left, True) @ dy, transpose_b)


@mistake("matmul_backward", "gradients that forget that a or b was given transposed")
def forgets_the_flags(dy, a, b, transpose_a=False, transpose_b=False):
    return matmul_backward(dy, a, b)


@mistake("matmul_backward", "gradients that are not transposed back")
def does_not_turn_back(dy, a, b, transpose_a=False, transpose_b=False):
    return matmul_backward(dy, turn(a, transpose_a), turn(b, transpose_b))


@mistake("matmul_backward", "da = dY B, without the transpose")
def da_without_transpose(dy, a, b, transpose_a=False, transpose_b=False):
    _, db = matmul_backward(dy, a, b, transpose_a, transpose_b)
    return turn(dy @ turn(b, transpose_b), transpose_a), db


@mistake("matmul_backward", "db = A dY, without the transpose")
def db_without_transpose(dy, a, b, transpose_a=False, transpose_b=False):
    da, _ = matmul_backward(dy, a, b, transpose_a, transpose_b)
    return da, turn(turn(a, transpose_a) @ dy, transpose_b)


@mistake("linear", "a layer without its bias")
def forgets_bias(x, w, b=None):
    return x @ w


@mistake("linear", "x W^T: these weights are stored (in, out), not (out, in)")
def transposes_weights(x, w, b=None):
    return x @ w.T if b is None else x @ w.T + b


@mistake("linear", "the bias added to x, before the weights")
def bias_first(x, w, b=None):
    return x @ w if b is None else (x + b) @ w


@mistake("linear", "the bias subtracted")
def subtracts_bias(x, w, b=None):
    return x @ w if b is None else x @ w - b


@mistake("linear_backward", "db averaged over the rows, not summed")
def averages_db(dy, x, w):
    return dy @ w.T, rows(x).T @ rows(dy), rows(dy).mean(axis=0)


@mistake("linear_backward", "dW averaged over the rows: the loss has already divided")
def averages_dw(dy, x, w):
    return dy @ w.T, rows(x).T @ rows(dy) / np.float32(max(len(rows(x)), 1)), rows(dy).sum(axis=0)


@mistake("linear_backward", "dW transposed")
def transposes_dw(dy, x, w):
    return dy @ w.T, rows(dy).T @ rows(x), rows(dy).sum(axis=0)


@mistake("linear_backward", "dx = dy W, without the transpose")
def dx_without_transpose(dy, x, w):
    return dy @ w, rows(x).T @ rows(dy), rows(dy).sum(axis=0)


@mistake("linear_backward", "db summed over the first axis only")
def sums_one_axis(dy, x, w):
    return dy @ w.T, rows(x).T @ rows(dy), dy.sum(axis=0)


@mistake("linear_gelu", "exact gelu, where the tanh form was asked for")
def bends_exactly(x, w, b=None):
    h = linear(x, w, b)
    return gelu(h), h


@mistake("linear_gelu", "the bias added after gelu_tanh")
def bends_before_the_bias(x, w, b=None):
    h = linear(x, w, b)
    y = gelu_tanh(linear(x, w))
    return (y if b is None else y + b), h


@mistake("linear_gelu", "x bent before it is multiplied")
def bends_the_input(x, w, b=None):
    return linear(gelu_tanh(x), w, b), linear(x, w, b)


@mistake("linear_gelu", "y returned for h as well: the backward pass needs what stood before gelu_tanh")
def forgets_h(x, w, b=None):
    y = gelu_tanh(linear(x, w, b))
    return y, y


@mistake("linear_gelu_backward", "a gradient that passes gelu_tanh unchanged")
def forgets_the_bend(dy, x, w, h):
    return linear_backward(dy, x, w)


@mistake("linear_gelu_backward", "the slope of gelu_tanh taken at y, not at h")
def slope_at_y(dy, x, w, h):
    return linear_backward(gelu_tanh_backward(dy, gelu_tanh(h)), x, w)


@mistake("linear_gelu_backward", "db from dy, without the slope of gelu_tanh")
def db_without_the_bend(dy, x, w, h):
    dx, dw, _ = linear_backward(gelu_tanh_backward(dy, h), x, w)
    return dx, dw, rows(dy).sum(axis=0)


@mistake("matmul_backward", "da and db returned in the wrong order")
def swapped_gradients(dy, a, b, transpose_a=False, transpose_b=False):
    da, db = matmul_backward(dy, a, b, transpose_a, transpose_b)
    return db, da


@mistake("matmul_backward", "gradients divided by the number of rows, as if y were a mean")
def averaged_gradients(dy, a, b, transpose_a=False, transpose_b=False):
    da, db = matmul_backward(dy, a, b, transpose_a, transpose_b)
    return da, db / db.dtype.type(max(dy.shape[-2], 1))


@mistake("matmul_backward", "db that forgets dy: the sum of A's rows")
def forgets_dy(dy, a, b, transpose_a=False, transpose_b=False):
    return matmul_backward(dy, a, b, transpose_a, transpose_b)[0], matmul_backward(
        np.ones_like(dy), a, b, transpose_a, transpose_b
    )[1]


@mistake("linear", "the bias multiplied by x, not added")
def bias_as_factor(x, w, b=None):
    y = linear(x, w)
    return y if b is None else y * b


@mistake("linear", "the bias added twice")
def bias_twice(x, w, b=None):
    return linear(x, w, None if b is None else b + b)


@mistake("linear", "outputs divided by the number of inputs, a mean where a sum belongs")
def mean_of_inputs(x, w, b=None):
    y = linear(x, w) / x.dtype.type(max(x.shape[-1], 1))
    return y if b is None else y + b
