"""Mistakes in the ops that treat every number alone."""

import numpy as np

from tinyllm.ops import (
    add,
    dropout,
    gelu,
    gelu_backward,
    gelu_tanh,
    gelu_tanh_backward,
    sigmoid,
    silu,
    silu_backward,
)
from tinyllm.ops.elementwise import GELU_TANH, keep_mask
from tinyllm.ops.erf import erf
from tinyllm.testing.mistake import mistake
from tinyllm.testing.properties import EXTREME, FORM, PURE

SCALE, CUBIC = GELU_TANH


@mistake("gelu", "the tanh approximation, where exact gelu was asked for")
def approximates(x):
    return gelu_tanh(x)


@mistake("gelu", "x sigmoid(1.702 x), the rough approximation")
def approximates_roughly(x):
    return x * sigmoid(1.702 * x)


@mistake("gelu", "erf(x), without dividing x by sqrt 2")
def without_root_two(x):
    return 0.5 * x * (1 + erf(x))


@mistake("gelu", "x (1 + erf), without the factor 1/2")
def without_half(x):
    return 2 * gelu(x)


@mistake("gelu_backward", "Phi(x) alone, without x phi(x)")
def forgets_the_density(dy, x):
    return dy * 0.5 * (1 + erf(x * 0.5**0.5))


@mistake("gelu_backward", "Phi(x) + phi(x), where phi must be multiplied by x")
def density_without_x(dy, x):
    return dy * (0.5 * (1 + erf(x * 0.5**0.5)) + np.exp(-0.5 * x * x) * (2 * np.pi) ** -0.5)


@mistake("gelu_backward", "the derivative without dy")
def gelu_without_dy(dy, x):
    return gelu_backward(np.ones_like(dy), x)


@mistake("gelu_backward", "the derivative of the tanh approximation")
def derives_the_approximation(dy, x):
    return gelu_tanh_backward(dy, x)


@mistake("gelu_tanh", "exact gelu, where the tanh form was asked for")
def is_exact(x):
    return gelu(x)


@mistake("gelu_tanh", "x^2 where x^3 belongs")
def squares(x):
    return 0.5 * x * (1 + np.tanh(SCALE * (x + CUBIC * x * x)))


@mistake("gelu_tanh", "a tanh without the factor sqrt(2 / pi)")
def without_scale(x):
    return 0.5 * x * (1 + np.tanh(x + CUBIC * x * x * x))


@mistake("gelu_tanh_backward", "the derivative of exact gelu")
def derives_exact_gelu(dy, x):
    return gelu_backward(dy, x)


def gelu_tanh_slope(dy, x, slope):
    """The derivative of gelu_tanh with another derivative of the inner polynomial."""
    x = np.clip(x, -40, 40)
    t = np.tanh(SCALE * (x + CUBIC * x * x * x))
    return dy * 0.5 * (1 + t + x * (1 - t * t) * slope(x))


@mistake("gelu_tanh_backward", "a derivative that forgets the inner one, of the polynomial")
def without_inner_derivative(dy, x):
    return gelu_tanh_slope(dy, x, lambda x: 1)


@mistake("gelu_tanh_backward", "0.044715 x^2 in the inner derivative, without the 3 of x^3")
def without_the_three(dy, x):
    return gelu_tanh_slope(dy, x, lambda x: SCALE * (1 + CUBIC * x * x))


@mistake("gelu_tanh_backward", "(1 + t) / 2 alone: the product rule has a second term")
def without_product_rule(dy, x):
    return gelu_tanh_slope(dy, x, lambda x: 0)


@mistake("silu", "sigmoid(x), not multiplied by x")
def is_sigmoid(x):
    return sigmoid(x)


@mistake("silu", "x exp(x) / (1 + exp(x)), which overflows to NaN")
def overflows(x):
    return x * np.exp(x) / (1 + np.exp(x))


@mistake("silu", "x / (1 + exp(x)), with the wrong sign in exp")
def silu_wrong_sign(x):
    return x * sigmoid(-x)


@mistake("silu", "max(x, 0), which is relu")
def is_relu(x):
    return np.maximum(x, 0)


@mistake("silu_backward", "s (1 - s), the derivative of sigmoid")
def derives_sigmoid(dy, x):
    return dy * sigmoid(x) * (1 - sigmoid(x))


@mistake("silu_backward", "s alone: the product rule has a second term")
def silu_without_product_rule(dy, x):
    return dy * sigmoid(x)


@mistake("silu_backward", "s (1 + x), without the factor 1 - s")
def without_one_minus_s(dy, x):
    return dy * sigmoid(x) * (1 + x)


@mistake("silu_backward", "the derivative without dy")
def silu_without_dy(dy, x):
    return silu_backward(np.ones_like(dy), x)


@mistake("swiglu", "gate and up swapped")
def swaps_gate_and_up(gate, up):
    return gate * silu(up)


@mistake("swiglu", "sigmoid(gate) up, which is GLU")
def is_glu(gate, up):
    return sigmoid(gate) * up


@mistake("swiglu", "gelu(gate) up, which is GEGLU")
def is_geglu(gate, up):
    return gelu(gate) * up


@mistake("swiglu", "silu(gate up): only the gate goes through silu")
def activates_the_product(gate, up):
    return silu(gate * up)


@mistake("swiglu_backward", "dgate and dup returned in the wrong order")
def swaps_gradients(dy, gate, up):
    return dy * silu(gate), silu_backward(dy * up, gate)


@mistake("swiglu_backward", "dgate that forgets to multiply by up")
def dgate_without_up(dy, gate, up):
    return silu_backward(dy, gate), dy * silu(gate)


@mistake("swiglu_backward", "dgate with sigmoid(gate) for the derivative of silu")
def dgate_of_sigmoid(dy, gate, up):
    return dy * up * sigmoid(gate), dy * silu(gate)


@mistake("swiglu_backward", "dup = dy gate, without silu")
def dup_without_silu(dy, gate, up):
    return silu_backward(dy * up, gate), dy * gate


@mistake("add", "x changed in place", breaks=PURE)
def adds_in_place(x, y):
    x += y
    return x


@mistake("add", "the mean of x and y")
def averages(x, y):
    return add(x, y) / 2


@mistake("add", "x - y")
def takes_y_away(x, y):
    return x - y


@mistake("add", "y - x")
def subtracts(x, y):
    return y - x


@mistake("dropout", "one mask for every place of the stream: the counter is left out")
def without_counter(x, key, p):
    return dropout(x, (key[0], 0), p)


@mistake("dropout", "a mask inverted: what should be dropped is kept")
def keyed_inverts(x, key, p):
    return x * ~keep_mask(key, x.shape, p) / (1 - p)


@mistake("dropout", "dropout by key without the factor 1 / (1 - p)")
def keyed_without_growth(x, key, p):
    return x * keep_mask(key, x.shape, p)


@mistake("dropout", "one row's mask for every row")
def masks_alike(x, key, p):
    return x * keep_mask(key, x.shape[-1:], p) / (1 - p)


@mistake("dropout_backward", "a mask drawn afresh, where the gradient needs that of the forward pass")
def draws_afresh(dy, key, p):
    return dropout(dy, (key[0], (key[1] + (dy.size + 3) // 4) % 2**64), p)


@mistake("dropout_backward", "a gradient by key without the factor 1 / (1 - p)")
def keyed_gradient_without_growth(dy, key, p):
    return dy * keep_mask(key, dy.shape, p)


@mistake("dropout_backward", "a gradient that also flows through what the key dropped")
def keyed_gradient_without_mask(dy, key, p):
    return dy / (1 - p)


@mistake("add", "the product, where the sum belongs")
def product_of_both(x, y):
    return x * y


@mistake("add", "x alone: y is forgotten")
def forgets_y(x, y):
    return np.array(x)


@mistake("add", "the sum computed in float64 and left there", breaks=FORM)
def add_in_float64(x, y):
    return x.astype(np.float64) + y


@mistake("add", "every sum of an x and a y, a table of them")
def all_sums(x, y):
    return np.add.outer(x, y)


@mistake("gelu_tanh", "x multiplied by tanh alone: a half of 1 + tanh belongs there")
def tanh_alone(x):
    return x * np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)).astype(x.dtype)


@mistake("gelu_tanh", "the cubic term without its x: a constant 0.044715")
def constant_cube(x):
    z = np.clip(x, -20, 20)
    u = x.dtype.type((2 / np.pi) ** 0.5) * (z + x.dtype.type(0.044715))
    return x * x.dtype.type(0.5) * (1 + np.tanh(u))


@mistake("gelu_tanh", "x sigmoid(1.702 x), the other approximation")
def by_sigmoid(x):
    return (x / (1 + np.exp(-np.clip(1.702 * x.astype(np.float64), -700, 700)))).astype(x.dtype)


@mistake("silu_backward", "the derivative of relu: dy where x is positive")
def silu_as_relu(dy, x):
    return np.where(x > 0, dy, dy.dtype.type(0))


@mistake("silu_backward", "dy silu(x): the function itself, where its slope belongs")
def silu_not_derived(dy, x):
    return dy * silu(x)


@mistake("silu_backward", "s - x s (1 - s): the second term has the wrong sign")
def silu_minus(dy, x):
    s = (1 / (1 + np.exp(-x.astype(np.float64)))).astype(x.dtype)
    return dy * (s - x * s * (1 - s))


@mistake("sigmoid", "1 / (1 + exp(x)), with the sign lost")
def sigmoid_of_minus(x):
    return sigmoid(-x)


@mistake("sigmoid", "exp(x) / (1 + exp(x)), which overflows into NaN", breaks=EXTREME)
def sigmoid_overflows(x):
    return np.exp(x) / (1 + np.exp(x))


@mistake("sigmoid", "tanh, which runs from -1")
def sigmoid_as_tanh(x):
    return np.tanh(x)
