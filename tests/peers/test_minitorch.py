"""minitorch's properties of tensors and of autograd: values against Python's math, gradients by differences.

Sasha Rush, github.com/minitorch/minitorch, modules 1 and 2: the functions of its MathTest and the properties
of test_tensor.py and test_autodiff.py, written here, on every backend. By design other than there:
comparisons return plain arrays, because they have no gradient, and `inv(x)` is `1 / x`.
"""

import math
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyllm.functional as F
from tinyllm import ops
from tinyllm.tensor import Tensor

BACKENDS = ["numpy"] + ["compiled"] * (ops.add.compiled is not None)
numbers = st.floats(-100, 100, allow_nan=False, width=32)
sizes = st.integers(1, 3)


def values(draw, shape):
    n = math.prod(shape)
    return np.array(draw(st.lists(numbers, min_size=n, max_size=n))).reshape(shape)


@st.composite
def tensors(draw, count=1):
    """Some float64 tensors of one shape, of up to four axes."""
    shape = tuple(draw(st.lists(sizes, min_size=1, max_size=4)))
    return [Tensor(values(draw, shape), requires_grad=True) for _ in range(count)]


@st.composite
def broadcasting(draw):
    """Two tensors whose shapes broadcast: axes of one are missing or 1 in the other."""
    (x,) = draw(tensors())
    shape = [draw(st.sampled_from((n, 1))) for n in x.shape][draw(st.integers(0, x.ndim)) :]
    pair = [x, Tensor(values(draw, shape), requires_grad=True)]
    return pair if draw(st.booleans()) else pair[::-1]


def relu(x):
    return max(x, 0.0)


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


# name: (on a tensor, on a number, does the slope jump somewhere?)
ONE = {
    "neg": (lambda t: -t, lambda x: -x),
    "add constant": (lambda t: 5 + t, lambda x: 5 + x),
    "subtract constant": (lambda t: t - 5, lambda x: x - 5),
    "multiply": (lambda t: 5 * t, lambda x: 5 * x),
    "divide": (lambda t: t / 5, lambda x: x / 5),
    "square": (lambda t: t**2, lambda x: x**2),
    "cube": (lambda t: t**3, lambda x: x**3),
    "inv": (lambda t: 1 / (t + 3.5), lambda x: 1 / (x + 3.5)),
    "sigmoid": (F.sigmoid, sigmoid),
    "log": (lambda t: (t + 100000).log(), lambda x: math.log(x + 100000)),
    "relu": (lambda t: F.relu(t + 5.5), lambda x: relu(x + 5.5)),
    "exp": (lambda t: (t - 200).exp(), lambda x: math.exp(x - 200)),
    "explog": (lambda t: (t + 100000).log() + (t - 200).exp(),
               lambda x: math.log(x + 100000) + math.exp(x - 200)),
    "abs": (abs, abs),
    "tanh": (lambda t: (t / 50).tanh(), lambda x: math.tanh(x / 50)),
    "complex": (lambda t: F.log(F.sigmoid(F.relu(F.relu(t * 10 + 7) * 6 + 5) * 10)) / 50,
                lambda x: math.log(sigmoid(relu(relu(x * 10 + 7) * 6 + 5) * 10)) / 50),
}
TWO = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": lambda a, b: a / (b + 105.5),
    "max": lambda a, b: F.maximum(a, b) if isinstance(a, Tensor) else np.maximum(a, b),
}
COMPARED = {"lt": operator.lt, "gt": operator.gt, "eq": operator.eq, "le": operator.le, "ge": operator.ge,
            "ne": operator.ne}
REDUCED = {"sum": np.sum, "mean": np.mean, "max": np.max}
on_every_backend = pytest.mark.parametrize("backend", BACKENDS)


def check_gradients(f, *inputs, step=1e-6):
    """Compare gradients of f(...).sum() with differences, except where the slope jumps within a step."""
    for x in inputs:
        x.grad = None
    f(*inputs).sum().backward()

    def value(x, index, h):
        moved = x.data.copy()
        moved[index] += h
        return f(*(Tensor(moved) if t is x else Tensor(t.data) for t in inputs)).data.sum()

    for x in inputs:
        assert x.grad.shape == x.shape and x.grad.dtype == np.float64
        for index in list(np.ndindex(x.shape))[:4]:
            here, ahead, behind = value(x, index, 0), value(x, index, step), value(x, index, -step)
            right, left = (ahead - here) / step, (here - behind) / step
            rounding, scale = 1e-8 * abs(here), max(1, abs(right))
            if abs(right - left) < 1e-2 * scale + rounding:  # else a corner: relu at 0, equals in max
                assert abs(x.grad[index] - (ahead - behind) / (2 * step)) < 1e-4 * scale + rounding


@on_every_backend
@pytest.mark.parametrize("name", ONE)
@given(drawn=tensors())
def test_functions_of_one_tensor(backend, name, drawn):
    with ops.use(backend):
        f, scalar = ONE[name]
        expected = [scalar(x) for x in drawn[0].data.ravel().tolist()]
        np.testing.assert_allclose(f(*drawn).data.ravel(), expected, rtol=1e-9, atol=1e-300)
        check_gradients(f, *drawn)


@on_every_backend
@pytest.mark.parametrize("name", TWO)
@given(drawn=tensors(count=2), stretched=broadcasting())
def test_functions_of_two_tensors_and_of_broadcast_ones(backend, name, drawn, stretched):
    with ops.use(backend):
        for a, b in (drawn, stretched):
            np.testing.assert_allclose(TWO[name](a, b).data, TWO[name](a.data, b.data), rtol=1e-12)
            check_gradients(TWO[name], a, b)


@pytest.mark.parametrize("name", COMPARED)
@given(drawn=broadcasting())
def test_comparisons(name, drawn):
    a, b = drawn
    assert np.array_equal(COMPARED[name](a, b), COMPARED[name](a.data, b.data))


@on_every_backend
@pytest.mark.parametrize("name", REDUCED)
@given(drawn=tensors(), data=st.data())
def test_reductions(backend, name, drawn, data):
    (x,) = drawn
    axis = data.draw(st.sampled_from((None, *range(x.ndim))))
    with ops.use(backend):
        for keepdims in (False, True):
            reduced = getattr(x, name)(axis, keepdims)
            expected = REDUCED[name](x.data, axis, keepdims=keepdims)
            np.testing.assert_allclose(reduced.data, expected, rtol=1e-9)
        check_gradients(lambda t: getattr(t, name)(axis), x)


@on_every_backend
@given(drawn=tensors(), data=st.data())
def test_permutations_and_views(backend, drawn, data):
    (x,) = drawn
    order = data.draw(st.permutations(range(x.ndim)))
    with ops.use(backend):
        permuted = x.transpose(*order)
        for index in np.ndindex(permuted.shape):
            back = tuple(index[order.index(axis)] for axis in range(x.ndim))
            assert permuted.data[index] == x.data[back]
        check_gradients(lambda t: t.transpose(*order).reshape(-1) * np.arange(x.data.size), x)
        assert np.array_equal(permuted.reshape(x.data.size).reshape(permuted.shape).data, permuted.data)


@on_every_backend
@given(data=st.data())
def test_matrix_products(backend, data):
    batch, m, k, n = (data.draw(sizes) for _ in "bmkn")
    a, b = (Tensor(values(data.draw, shape), requires_grad=True) for shape in ((batch, m, k), (1, k, n)))
    with ops.use(backend):
        slow = (a.reshape(batch, m, k, 1) * b.reshape(1, 1, k, n)).sum(axis=2)
        np.testing.assert_allclose((a @ b).data, slow.data, atol=1e-9)
        check_gradients(lambda a, b: a @ b, a, b)


@on_every_backend
def test_a_chain_and_a_value_used_twice(backend):
    with ops.use(backend):
        x = Tensor(np.array(5.0), requires_grad=True)
        z = x * x + 3 * x
        (z * z + z).backward()
        slope = (2 * 40 + 1) * (2 * 5 + 3)
        assert x.grad == slope
        x.grad = None
        y = x * 2
        (y + y + Tensor(np.array(1.0))).backward()
        assert x.grad == 4
