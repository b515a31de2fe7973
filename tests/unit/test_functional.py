"""Compare the gradients of all functions with finite differences, and check that wrong ones are noticed."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import gradient_error

import tinyllm as tl
import tinyllm.functional as F
from tinyllm import ops
from tinyllm.models import mixtral
from tinyllm.ops import loss
from tinyllm.testing import MISTAKES
from tinyllm.testing.arrays import arrange
from tinyllm.testing.catalog import draw_cases
from tinyllm.testing.relations import FORWARDS, SUFFIX, bind
from tinyllm.train.objectives import same_meaning


@pytest.fixture(autouse=True)
def specs():
    with ops.use("numpy"):
        yield


IDS = np.array([[0, 3, 3], [6, 0, 3]])
TARGETS = np.array([[0, 3, -100], [6, 0, 3]])
BATCH = SimpleNamespace(tokens=None, lengths=None)
ROUTER = SimpleNamespace(gate=lambda rows: rows, top=2, normalise=False)


# Functions that are no op, or do more than the op of that name: (function, shapes of its inputs)
CASES = {
    "linear_cross_entropy": (lambda x, w: F.linear_cross_entropy(x, w, TARGETS), (2, 3, 4), (7, 4)),
    "sigmoid": (F.sigmoid, (3, 5)),
    "relu": (F.relu, (3, 5)),
    "minimum": (F.minimum, (3, 5), (5,)),
    "maximum": (lambda x: F.maximum(x, 0.1) * F.maximum(-0.2, x), (3, 5)),
    "clip": (lambda x: F.clip(x, -0.5, 0.5), (3, 5)),
    "concat": (lambda x, y: F.concat([x, y, x], axis=1), (2, 3, 4), (2, 1, 4)),
    "attention, bias": (lambda q, k, v, bias: F.attention(q, k, v, bias=bias),
                        (2, 3, 2, 4), (2, 5, 2, 4), (2, 5, 2, 4), (2, 3, 5)),
    "attention, one bias for all queries": (lambda q, k, v, bias: F.attention(q, k, v, window=2, bias=bias),
                                            (2, 3, 4, 4), (2, 5, 2, 4), (2, 5, 2, 4), (4, 1, 5)),
    "attention, packed": (lambda *x: F.attention(*x, starts=[[0, 0, 2, 2]]), *[(1, 4, 2, 4)] * 3),
    "split": (lambda x: sum(F.split(x, 3)[:2]) * F.split(x, 3)[2], (2, 3, 6)),
    "one part of a split": (lambda x: F.split(x, 3)[1], (2, 6)),
    # Ops with more outputs, or with a list of inputs:
    "route": (lambda x: mixtral.Experts.route(ROUTER, x)[0], (2, 4)),
    "grouped_linear": (lambda x, *w: mixtral.grouped_linear(x, [*w], np.array([2, 0, 3])),
                       (5, 3), (3, 4), (3, 4), (3, 4)),
    "contrastive_loss": (
        lambda x: same_meaning(SimpleNamespace(sentence_vectors=lambda *_: x), BATCH, 0.5)[0], (6, 4)
    ),
}
DIFFERENTIABLE = [*dict.fromkeys([*FORWARDS, *CASES])]
OF_MODELS = {"route", "grouped_linear", "contrastive_loss"}  # parts of models take no plain arrays


def call(name, moving, rest, *inputs):
    given = dict(zip(moving, inputs, strict=True)) | rest
    if hasattr(F, name):
        return getattr(F, name)(**given)
    return F.apply(ops.OPS[name], *(given[key] for key in ops.OPS[name].__signature__.parameters))


def calls(name, count=12):
    """Yield functions to differentiate, each with the shapes of its inputs; an op has its own cases."""
    if name in CASES:
        yield CASES[name]
        return
    for args in draw_cases(name, count):
        known = bind(name, args)
        moving = [key for key in ops.OPS[name].grads if known[key] is not None]
        rest = {key: value for key, value in known.items() if key not in moving}
        yield functools.partial(call, name, moving, rest), *(known[key].shape for key in moving)


def error(f, *shapes, layout="plain"):
    """Return the relative error of a function's gradient for random inputs of these shapes in float64."""
    arrays = [tl.Random("input", i).normal(shape).astype(np.float64) for i, shape in enumerate(shapes)]
    return gradient_error(f, *(tl.Tensor(arrange(a, layout), requires_grad=True) for a in arrays))


@pytest.mark.parametrize("layout", ["plain", "fortran", "every second", "backwards"])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_match_finite_differences(name, layout):
    for f, *shapes in calls(name):
        assert error(f, *shapes, layout=layout) < 1e-6


def is_wrong(f, *shapes):
    try:
        return error(f, *shapes) > 1e-4
    except Exception:
        return True


@pytest.mark.parametrize("name", FORWARDS)
def test_a_wrong_gradient_is_noticed(name):
    """Every known mistake must exceed the limit of 1e-6 a hundred times in some case, or raise an error."""
    for said, function in MISTAKES.get(name + SUFFIX, ()):
        if not said.endswith("which keeps NaN"):  # of NaN there are no finite differences
            with ops.override(**{name + SUFFIX: function}):
                assert any(is_wrong(*call) for count in (20, 60, 300) for call in calls(name, count)), said


def test_every_differentiable_function_is_checked():
    assert {name for name in ops.OPS if name.endswith(SUFFIX)} == {name + SUFFIX for name in FORWARDS}
    own = {name for name, f in vars(F).items() if getattr(f, "__module__", "") == F.__name__}
    own -= {"apply"}  # computes nothing itself
    assert {name for name in own if not name.startswith("_")} <= {*FORWARDS, *CASES}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_float32_stays_float32_and_plain_arrays_are_taken_as_tensors(name):
    for f, *shapes in calls(name):
        arrays = [tl.Random("plain", i).normal(s) for i, s in enumerate(shapes)]
        inputs = [tl.Tensor(a, requires_grad=True) for a in arrays]
        y = f(*inputs)
        y.backward(np.ones(y.shape, np.float32))
        assert y.dtype == np.float32 and all(x.grad.dtype == np.float32 for x in inputs)
        for plain in (arrays, [a.astype(np.float64) for a in arrays], [*arrays[:-1], inputs[-1]]):
            if name not in OF_MODELS:
                found = f(*plain)
                assert found.dtype == np.float32 and np.array_equal(found.data, y.data)


def test_lists_numbers_and_tensors_of_ids_are_taken():
    assert F.maximum([0.0, 3.0], [1.0, 2.0]).data.tolist() == [1, 3]
    assert F.maximum(tl.Tensor(np.zeros(1)), 0.1).data.tolist() == [0.1]  # in the dtype of the first Tensor
    assert F.sigmoid(0).data == 0.5 and F.concat([[1.0], [2.0]]).data.tolist() == [1, 2]
    assert F.matmul([[2.0]], [[3.0]]).data.tolist() == [[6]]
    loss = F.cross_entropy([[0.0, 0.0]], [1]).item()
    assert F.linear_token_losses([[0.0]], [[1.0], [1.0]], [1]).item() == loss
    logits = F.embedding(tl.Tensor(np.eye(7, dtype=np.float32)), tl.Tensor(IDS))
    assert np.array_equal(logits.data, np.eye(7, dtype=np.float32)[IDS])
    assert F.cross_entropy(logits, tl.Tensor(TARGETS)).item() == F.cross_entropy(logits, TARGETS).item()


VALUES = {  # name in CASES -> the same function in NumPy
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "relu": lambda x: x * (x > 0),
    "minimum": np.minimum, "clip": lambda x: np.clip(x, -0.5, 0.5),
    "concat": lambda x, y: np.concatenate([x, y, x], axis=1),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_are_those_of_numpy(name):
    f, *shapes = CASES[name]
    arrays = [3 * tl.Random("values", i).normal(shape).astype(np.float64) for i, shape in enumerate(shapes)]
    np.testing.assert_allclose(f(*map(tl.Tensor, arrays)).data, VALUES[name](*arrays), rtol=1e-12)


def test_zeros_have_no_sign():
    """Past bugs: relu gave -0 for negative numbers, and the entropy of a sure choice was -0."""
    for zero in (F.relu([-3.0, 3.0]).data[0], ops.entropy(np.array([1, 0], np.float32))):
        assert zero == 0 and not np.signbit(zero)


FROZEN = {  # a function of x and of weights -> the backward op that it must not run, and the weights' shapes
    F.linear: ("linear_backward", (4, 5), (5,)),
    F.linear_gelu: ("linear_gelu_backward", (4, 5), (5,)),
    lambda x, w: F.linear_token_losses(x, w, np.arange(15) % 7): ("linear_token_losses_backward", (7, 4)),
}


@pytest.mark.parametrize("f", FROZEN)
def test_a_frozen_weight_costs_no_product(f, monkeypatch):
    def run(frozen, count):
        weights = [tl.Tensor(tl.Random("w", *s).normal(s), not frozen) for s in shapes[:count]]
        y = f(x := tl.Tensor(tl.Random("x").normal((15, 4)), True), *weights)
        y.backward(np.ones(y.shape, np.float32))
        assert all((w.grad is None) == frozen for w in weights)
        return x.grad

    product, *shapes = FROZEN[f]
    counts = range(1, len(shapes) + 1)  # without a bias, and with one
    whole = [run(False, count) for count in counts]
    monkeypatch.setattr(loss, "CHUNK", 30)  # chunks of four rows, the last one shorter
    refuse = functools.wraps(ops.OPS[product])(lambda *args: pytest.fail("a product for a frozen weight"))
    with ops.override(**{product: refuse}):
        for count, expected in zip(counts, whole, strict=True):
            np.testing.assert_allclose(run(True, count), expected, rtol=0, atol=1e-6 * ("losses" in product))


def test_ties_and_edges_have_one_gradient_and_equal_maxima_share_it():
    x, y = (tl.Tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    (F.minimum(x, y) + F.maximum(x, y) + F.clip(x, 1, 2)).sum().backward()
    assert x.grad.tolist() == [3, 3] and y.grad.tolist() == [0, 0]
    x = tl.Tensor([[2.0, 3.0, 3.0], [1.0, 0.0, -1.0]], requires_grad=True)
    x.max(axis=1).backward([6, 4])
    assert x.grad.tolist() == [[0, 3, 3], [4, 0, 0]]
