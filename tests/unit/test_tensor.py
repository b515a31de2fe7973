"""Test Tensor and its tape: values, gradients, what the tape keeps, and when it is freed."""

import weakref

import numpy as np
import pytest
from helpers import gradient_error, refuses
from hypothesis import given, strategies as st

import tinyllm.functional as F
from tinyllm import Random, ops
from tinyllm.tensor import Tensor, no_grad, record

BACKENDS = ["numpy"] + ["compiled"] * (ops.matmul.compiled is not None)


@pytest.fixture(autouse=True, scope="module")
def specs():
    with ops.use("numpy"):
        yield


@pytest.fixture(params=BACKENDS)
def backend(request):
    with ops.use(request.param):
        yield request.param


def leaf(*shape, key="leaf"):
    return Tensor(Random(key, *shape).normal(shape).astype(np.float64), requires_grad=True)


BINARY = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / (y * y + 1.0),
    "shared": lambda x, y: (x + y) * (x + y) - x * y / (1.0 + y * y),
    "used twice": lambda x, y: x * x + y * x,
    "@": lambda x, y: x @ y,
}
SHAPES = [((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((), (2, 3)), ((2, 1, 3), (4, 1)),
          ((1,), (1, 1)), ((0, 3), (3,))]
PRODUCTS = [((3,), (3,)), ((2, 3), (3,)), ((3,), (4, 3, 2)), ((5, 2, 3), (3, 4)), ((1, 2, 3), (4, 3, 1)),
            ((0, 3), (3, 2))]

UNARY = {
    "sum": lambda x: x.sum(),
    "sum of rows": lambda x: x.sum(axis=-1),
    "sum, axes kept": lambda x: x * x.sum(axis=(0, 2), keepdims=True),
    "mean": lambda x: x.mean() * x.mean(axis=1),
    "reshape": lambda x: x.reshape(4, 6) * x.reshape((4, 6)) * x.reshape(-1, 6),
    "transpose": lambda x: x.transpose() * 2,
    "transpose, named axes": lambda x: x.transpose(1, -1, 0) * x.transpose(1, 2, 0),
    "swap axes": lambda x: x.swapaxes(1, -1) * x.swapaxes(2, 1),
    "a slice": lambda x: x[1, ..., ::-2],
    "a new axis": lambda x: x[:, None, 1:],
    "rows, some twice": lambda x: x[[1, 0, 1]] * x[np.array([0, 0, 1])],
    "elements, some twice": lambda x: x[[1, 1], :, [2, 2]],
    "elements of a tuple or a range, some twice": lambda x: x[:, (0, 0)] + x[(1, 1), range(2), None],
    "no elements": lambda x: x[:, []].sum() + x,
    "a mask": lambda x: x[np.asarray(x) > 0],
    "powers": lambda x: (x * x + 1) ** -0.5 + x**3 + x**0,
    "max": lambda x: x.max() * x.max(axis=(0, 1)) + x.max(axis=(0, -1), keepdims=True),
    "square roots and .T": lambda x: (x * x + 1).sqrt().T * 2,
    "exp, log, tanh": lambda x: (x.exp() + 1).log() * x.tanh(),
    "numbers": lambda x: 2 - (1 + x) * 3 / 4 + 1 / (x * x + 1) - x,
    "arrays": lambda x: np.ones((2, 1, 1)) + (np.arange(4.0) - x) * np.arange(4.0),
    "@ array": lambda x: x @ x.transpose(0, 2, 1) @ np.ones((3, 2)) @ np.ones(2),
    "array @": lambda x: np.ones((5, 3)) @ x,
    "negative": lambda x: -x,
}


class Array(np.ndarray):
    """Give an array the methods that only a Tensor has."""

    exp, log, sqrt, tanh = (lambda x, f=f: f(x) for f in (np.exp, np.log, np.sqrt, np.tanh))


@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_values_are_those_of_numpy_and_gradients_the_slopes(backend, name):
    f = (UNARY | BINARY)[name]
    for shapes in [((2, 3, 4),)] if name in UNARY else PRODUCTS if name == "@" else SHAPES:
        inputs = [leaf(*shape, key=key) for key, shape in zip("xy", shapes, strict=False)]
        expected = f(*(x.data.view(Array) for x in inputs))
        np.testing.assert_allclose(f(*inputs).data, expected, rtol=1e-12, atol=1e-15)
        assert gradient_error(f, *inputs) < 1e-6


def test_numbers_and_lists_are_float32_and_arrays_keep_their_dtype(backend):
    assert Tensor([1.5, 2]).dtype == Tensor(0.5).dtype == np.float32
    assert Tensor([1, 2]).dtype.kind == "i"
    assert Tensor(np.zeros(2)).dtype == np.float64
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    for y in (x + 1, 1 - x, x * 0.1, x / np.float64(3), 2 / x, x.mean(), -x, x**2, x.exp(), x * np.ones(3),
              np.ones((2, 3)) @ x.reshape(3, 1), x + np.arange(3), x.max(), x @ x, np.ones(3) @ x):
        assert y.dtype == np.float32
    x, y = Tensor(np.ones((2, 2), np.float32), requires_grad=True), leaf(2, 2)
    z = F.softmax(x * 2) + y * x - x @ y  # mixed dtypes: a gradient has that of its tensor
    assert z.dtype == np.float64
    z.sum().backward()
    assert x.grad.dtype == np.float32 and y.grad.dtype == np.float64
    assert (Tensor([1, 2]) * 0.5).data.tolist() == [0.5, 1.0]


def test_other_dtypes_reach_what_replaced_an_op_and_kernels_refuse_them(backend):
    calls = []

    def product(a, b, transpose_a=False, transpose_b=False):
        calls.append(a.dtype)
        return ops.matmul.reference(a, b, transpose_a, transpose_b)

    x = leaf(2, 2)
    with ops.override(matmul=product):
        (x @ x).sum().backward()
    assert calls == [np.float64] * 3
    if backend == "compiled":
        with pytest.raises(TypeError, match=r"float64; use x\.astype"):
            ops.add(np.ones(2), np.ones(2))
    assert (Tensor(np.ones(2, np.float16)) + np.ones(2)).dtype == np.float16
    assert (Tensor([1, 2]) + Tensor([3, 4])).data.tolist() == [4, 6]


def test_comparisons_and_conversions_give_plain_values():
    x, y = Tensor([1.0, 2.0, 3.0], requires_grad=True), Tensor([2.0, 2.0, 2.0])
    for other in (y, y.data, 2):
        found = (x < other, x <= other, x > other, x >= other, x == other, x != other)
        assert [type(f) for f in found] == [np.ndarray] * 6
        assert np.array(found).T.astype(int).tolist() == [
            [1, 1, 0, 0, 0, 1], [0, 1, 0, 1, 1, 0], [0, 0, 1, 1, 0, 1]]
    assert {x: 1, y: 2}[x] == 1  # as a key, a tensor equals only itself
    assert x.numpy() is x.data is x.detach().data and len(x) == 3 and x[1].item() == 2.0
    assert "1." in repr(x) and "requires_grad" in repr(x)
    assert np.asarray(x) is x.data and np.asarray(x, np.float64).dtype == np.float64
    assert np.array(x) is not x.data and np.stack([x, x]).shape == (2, 3)
    for kind in (bool, int, float):
        for number in (0.0, 2.5, [0.0], [1.0]):
            assert kind(Tensor(number)) == kind(np.ravel(number)[0])
        with pytest.raises(ValueError, match="more than one" if kind is bool else None):
            kind(x)


def test_gradients_accumulate_over_calls():
    x, y, z = (Tensor(numbers, requires_grad=True) for numbers in ([1.0, 2.0], [0.0, 0.0], 2.0))
    for _ in range(2):
        (x * x + x).sum().backward()
        (z * z).backward()
        assert type(z.grad) is np.ndarray and z.grad.shape == ()  # once a number, which kernels refused
    assert x.grad.tolist() == [6.0, 10.0] and z.grad == 8
    given_grad = np.ones(2, np.float32)
    for _ in range(2):
        (x + y).backward(given_grad)
    assert x.grad.tolist() == [8, 12] and y.grad.tolist() == [2, 2] and given_grad.tolist() == [1, 1]


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100), st.booleans()), max_size=12))
def test_any_graph_of_sums_and_products_has_the_gradient_of_its_polynomial(steps):
    """Build a random graph of + and * on one number; dual numbers give the derivative to compare with."""
    x = Tensor(np.array(0.5), requires_grad=True)
    nodes, duals = [x], [(0.5, 1.0)]
    for i, j, product in steps:
        i, j = i % len(nodes), j % len(nodes)
        a, b, (u, du), (v, dv) = nodes[i], nodes[j], duals[i], duals[j]
        nodes.append(a * b if product else a + b)
        duals.append((u * v, du * v + u * dv) if product else (u + v, du + dv))
    nodes[-1].backward()
    assert nodes[-1].item() == pytest.approx(duals[-1][0])
    assert x.grad == pytest.approx(duals[-1][1])


# The tape.


def test_no_grad_records_nothing_and_ends_with_its_block():
    x, c = leaf(3), Tensor(np.ones(3))
    with pytest.raises(RuntimeError, match="no_grad"), no_grad():
        assert not (x * 2).requires_grad and not F.silu(x).requires_grad
        (x * 2).sum().backward()
    (x * c).sum().backward()
    assert c.grad is None and x.grad is not None and not (c * c).requires_grad
    assert not (x.detach() * 2).requires_grad


def test_a_chain_of_20_000_steps_and_dropping_one_without_backward():
    x = leaf(2)
    for run in (lambda y: y.sum().backward(), lambda y: None):
        y = x
        for i in range(20_000):
            y = F.silu(y) * 1.0 if i % 1000 == 0 else y + 0.0
        run(y)
        del y
    assert np.isfinite(x.grad).all()


class Probe:
    """Stand for an activation that a closure keeps; `probed` adds a finalizer that tells when it is freed."""


def probed(x, events, name):
    """Record a step that doubles x; its closure keeps a probe."""
    probe = Probe()
    weakref.finalize(probe, events.append, f"{name} freed")

    def backward(dy):
        assert probe is not None
        events.append(f"{name} backward")
        return (2 * dy,)

    return record(2 * x.data, (x,), backward)


def test_each_step_is_freed_before_the_one_below_it_and_a_graph_that_is_dropped_at_once():
    x, events = leaf(2), []
    y = x
    for name in "abc":
        y = probed(y, events, name)
    y.sum().backward()
    assert events == [f"{name} {what}" for name in "cba" for what in ("backward", "freed")]
    assert x.grad.tolist() == [8, 8]
    alive = weakref.ref(x)
    del x
    assert alive() is None and y.shape == (2,)  # the result does not keep x alive
    z = probed(leaf(2), events, "d") * 3
    assert events[-1] == "a freed"
    del z
    assert events[-1] == "d freed"  # at once: no reference cycle


def test_an_activation_lives_as_long_as_a_closure_needs_it():
    x = leaf(1000)
    for step, needed in ((lambda h: h + 1, False), (F.silu, True)):  # addition's backward needs no input
        h = x + 1
        alive = weakref.ref(h.data)
        y = step(h)
        del h
        assert (alive() is not None) == needed
        y.sum().backward()
        assert alive() is None


def test_a_second_backward_is_refused_and_leaves_gradients_alone():
    x = leaf(3)
    h = x * x
    y, z = h.sum(), (h * 2).sum()
    y.backward()
    before = x.grad.copy()
    for again in (y, z):  # z needs the step of h, which y has freed
        with pytest.raises(RuntimeError, match="run the forward pass again"):
            again.backward()
    assert np.array_equal(x.grad, before)


def test_outputs_that_nobody_uses_and_none_from_a_closure_have_gradient_0():
    x, y = leaf(2, 6), leaf(2, 6, key="y")
    a, b = record((x.data[:, :2], x.data[:, 2:]), (x, y), lambda da, db: (np.concatenate([da, db], -1), None))
    assert a.shape == (2, 2) and b.shape == (2, 4)
    (b * 3).sum().backward()
    assert np.array_equal(x.grad, [[0, 0, 3, 3, 3, 3]] * 2) and y.grad is None
    with pytest.raises(ValueError):  # but one gradient too few is an error
        record(x.data + y.data, (x, y), lambda dz: (dz,)).sum().backward()


@pytest.mark.parametrize("mistake, error, words", [
    (lambda: Tensor([1, 2], requires_grad=True), TypeError, "int64.*astype"),
    (lambda: leaf(2, 3).backward(), ValueError, r"\(2, 3\)"),
    (lambda: leaf(2, 3).backward(np.ones(3)), ValueError, r"\(2, 3\).*\(3,\)"),
    (lambda: Tensor([1.0]).backward(), RuntimeError, "requires_grad"),
    (lambda: leaf(2, 3) @ leaf(2, 3), ValueError, r"\(2, 3\) by \(2, 3\)"),
    (lambda: leaf(3) @ leaf(2, 3), ValueError, r"\(1, 3\) by \(2, 3\)"),
    (lambda: leaf(3) @ 2, ValueError, "two axes"),
    (lambda: leaf(3) ** leaf(3), TypeError, r"\(x\.log\(\) \* y\)\.exp"),
])
def test_mistakes_are_named(mistake, error, words):
    refuses(words, mistake, error=error)
