"""Compare gradients of all functions with finite differences, in any memory layout, and test `checkpoint`."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import gradient_error

import tinyllm.functional as F
from tinyllm import ops
from tinyllm.checkpointing import checkpoint
from tinyllm.models import mixtral
from tinyllm.ops import loss
from tinyllm.rng import Random
from tinyllm.tensor import Tensor, no_grad
from tinyllm.testing.arrays import arrange
from tinyllm.testing.catalog import draw_cases
from tinyllm.testing.relations import FORWARDS, bind
from tinyllm.train.objectives import same_meaning


@pytest.fixture(autouse=True)
def specs():
    with ops.use("numpy"):
        yield


IDS = np.array([[0, 3, 3], [6, 0, 3]])
TARGETS = np.array([[0, 3, -100], [6, 0, 3]])
BATCH = SimpleNamespace(tokens=None, lengths=None)


# Functions that are no op, or do more than the op of their name: (function, the shapes of its inputs)
CASES = {
    "linear_cross_entropy": (lambda x, w: F.linear_cross_entropy(x, w, TARGETS), (2, 3, 4), (7, 4)),
    "exp": (F.exp, (3, 5)),
    "sqrt": (lambda x: F.sqrt(x * x + 1), (3, 5)),
    "log": (lambda x: F.log(x * x + 1), (3, 5)),
    "tanh": (F.tanh, (3, 5)),
    "sigmoid": (F.sigmoid, (3, 5)),
    "relu": (F.relu, (3, 5)),
    "log_sigmoid": (F.log_sigmoid, (3, 5)),
    "minimum": (F.minimum, (3, 5), (5,)),
    "maximum": (lambda x: F.maximum(x, 0.1) * F.maximum(-0.2, x), (3, 5)),
    "clip": (lambda x: F.clip(x, -0.5, 0.5), (3, 5)),
    "concat": (lambda x, y: F.concat([x, y, x], axis=1), (2, 3, 4), (2, 1, 4)),
    "take": (lambda x: F.take(x, IDS), (7, 4)),
    "attention, bias": (lambda q, k, v, bias: F.attention(q, k, v, bias=bias),
                        (2, 3, 2, 4), (2, 5, 2, 4), (2, 5, 2, 4), (2, 3, 5)),
    "attention, one bias for all queries": (lambda q, k, v, bias: F.attention(q, k, v, window=2, bias=bias),
                                            (2, 3, 4, 4), (2, 5, 2, 4), (2, 5, 2, 4), (4, 1, 5)),
    "attention, packed": (lambda *x: F.attention(*x, starts=[[0, 0, 2, 2]]), *[(1, 4, 2, 4)] * 3),
    "split": (lambda x: sum(F.split(x, 3)[:2]) * F.split(x, 3)[2], (2, 3, 6)),
    "one part of a split": (lambda x: F.split(x, 3)[1], (2, 6)),
    "checkpoint": (lambda x, w: checkpoint(lambda x: F.gelu(x @ w), x, params=[w]), (3, 4), (4, 5)),
    # Ops with more outputs, or with a list of inputs:
    "route": (lambda p: mixtral.choose(p, 2)[0], (2, 4)),
    "grouped_linear": (lambda x, *w: mixtral.grouped_linear(x, [*w], np.array([2, 0, 3])),
                       (5, 3), (3, 4), (3, 4), (3, 4)),
    "contrastive_loss": (
        lambda x: same_meaning(SimpleNamespace(sentence_vectors=lambda *_: x), BATCH, 0.5)[0], (6, 4)
    ),
}
DIFFERENTIABLE = [*dict.fromkeys([*FORWARDS, *CASES])]
OF_MODELS = {"route", "grouped_linear", "contrastive_loss"}  # which take no plain arrays


def call(name, moving, rest, *inputs):
    given = dict(zip(moving, inputs, strict=True)) | rest
    if hasattr(F, name):
        return getattr(F, name)(**given)
    return F.apply(ops.OPS[name], *(given[key] for key in ops.OPS[name].__signature__.parameters))


def calls(name):
    """Yield functions to differentiate, each with the shapes of its inputs; an op has its own cases."""
    if name in CASES:
        yield CASES[name]
        return
    for args in draw_cases(name, 12):
        known = bind(name, args)
        moving = [key for key in ops.OPS[name].grads if known[key] is not None]
        rest = {key: value for key, value in known.items() if key not in moving}
        yield functools.partial(call, name, moving, rest), *(known[key].shape for key in moving)


@pytest.mark.parametrize("layout", ["plain", "fortran", "every second", "backwards"])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_match_finite_differences(name, layout):
    for f, *shapes in calls(name):
        arrays = [Random("input", i).normal(shape).astype(np.float64) for i, shape in enumerate(shapes)]
        inputs = (Tensor(arrange(a, layout), requires_grad=True) for a in arrays)
        assert gradient_error(f, *inputs) < 1e-6


def test_the_gradient_check_sees_a_small_mistake():
    x = Tensor(np.arange(15.0), requires_grad=True)
    assert gradient_error(lambda x: x * 0.999 + x.detach() * 0.001, x) > 1e-4


def test_every_differentiable_function_is_checked():
    own = {name for name, f in vars(F).items() if getattr(f, "__module__", "") == F.__name__}
    own -= {"apply"}  # compute nothing themselves
    assert {name for name in own if not name.startswith("_")} <= {*FORWARDS, *CASES}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_float32_stays_float32(name):
    for f, *shapes in calls(name):
        inputs = [Tensor(Random("f32", i).normal(s), requires_grad=True) for i, s in enumerate(shapes)]
        y = f(*inputs)
        y.backward(np.ones(y.shape, np.float32))
        assert y.dtype == np.float32 and all(x.grad.dtype == np.float32 for x in inputs)


@pytest.mark.parametrize("name", sorted({*DIFFERENTIABLE} - {"checkpoint"} - OF_MODELS))
def test_plain_arrays_and_lists_are_taken_as_tensors(name):
    for f, *shapes in calls(name):
        arrays = [Random("plain", i).normal(s) for i, s in enumerate(shapes)]
        expected = f(*map(Tensor, arrays)).data
        for plain in (arrays, [a.astype(np.float64) for a in arrays], [Tensor(arrays[0]), *arrays[1:]],
                      [*arrays[:-1], Tensor(arrays[-1])]):
            y = f(*plain)
            assert y.dtype == np.float32 and np.array_equal(y.data, expected)


def test_lists_and_numbers_are_taken_as_tensors():
    assert F.maximum([0.0, 3.0], [1.0, 2.0]).data.tolist() == [1, 3]
    assert F.exp(0).data == 1 and F.concat([[1.0], [2.0]]).data.tolist() == [1, 2]
    assert F.matmul([[2.0]], [[3.0]]).data.tolist() == [[6]]


VALUES = {  # functions that are no op -> the same in NumPy
    F.sigmoid: lambda x: 1 / (1 + np.exp(-x)),
    F.log_sigmoid: lambda x: -np.log1p(np.exp(-x)),
    F.relu: lambda x: x * (x > 0),
    F.minimum: np.minimum,
    F.maximum: np.maximum,
    functools.partial(F.clip, low=-0.5, high=0.5): lambda x: np.clip(x, -0.5, 0.5),
    lambda *xs: F.concat(xs, axis=1): lambda *xs: np.concatenate(xs, axis=1),
}


@pytest.mark.parametrize("f", VALUES)
def test_values_are_those_of_numpy(f):
    count = 2 if VALUES[f] in (np.minimum, np.maximum) else 1
    arrays = [3 * Random("values", i).normal((4, 5)).astype(np.float64) for i in range(count)]
    np.testing.assert_allclose(f(*map(Tensor, arrays)).data, VALUES[f](*arrays), rtol=1e-12)


def test_zeros_have_no_sign():
    """A past bug: relu gave [-0., 3.], and certainty an entropy of -0."""
    for zero in (F.relu([-3.0, 3.0]).data[0], ops.entropy(np.array([1, 0], np.float32))):
        assert zero == 0 and not np.signbit(zero)


def test_ids_and_targets_may_be_tensors():
    w = Tensor(np.eye(7, dtype=np.float32))
    logits = F.embedding(w, Tensor(IDS))
    assert np.array_equal(logits.data, np.eye(7, dtype=np.float32)[IDS])
    assert F.cross_entropy(logits, Tensor(TARGETS)).item() == F.cross_entropy(logits, TARGETS).item()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layer", [F.linear, F.linear_gelu])
def test_a_frozen_weight_costs_no_product(layer, bias, monkeypatch):
    """Check that the other gradients keep their bits, and that no product computes dW."""
    def run(frozen):
        parents = [Tensor(Random("freeze", *s).normal(s), not (frozen and i)) for i, s in enumerate(shapes)]
        layer(*parents).backward(np.ones((3, 5), np.float32))
        return parents

    shapes = [(3, 4), (4, 5), (5,)][: 2 + bias]
    whole = run(frozen=False)
    monkeypatch.setattr(ops, "linear_backward", None)
    monkeypatch.setattr(ops, "linear_gelu_backward", None)
    x, *frozen = run(frozen=True)
    assert x.grad.tobytes() == whole[0].grad.tobytes() and all(w.grad is None for w in frozen)


def test_a_frozen_table_costs_no_product(monkeypatch):
    def run(frozen):
        x, w = Tensor(Random("x").normal((3, 5, 4)), True), Tensor(Random("w").normal((7, 4)), not frozen)
        F.linear_token_losses(x, w, np.arange(15).reshape(3, 5) % 7).backward(np.ones((3, 5), np.float32))
        return x.grad

    expected = run(frozen=False)
    monkeypatch.setattr(loss, "CHUNK", 30)  # chunks of four rows, the last one shorter
    monkeypatch.setattr(ops, "linear_token_losses_backward", None)
    assert np.abs(run(frozen=True) - expected).max() < 1e-6


def test_ties_and_edges_have_one_gradient():
    x, y = (Tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    (F.minimum(x, y) + F.maximum(x, y) + F.clip(x, 1, 2)).sum().backward()
    assert x.grad.tolist() == [3, 3] and y.grad.tolist() == [0, 0]


# Checkpoint: the same bits for less memory.


def block(x, w1, w2):
    """Compute a residual block that uses its input three times and one parameter twice."""
    h = F.gelu(F.linear(F.softmax(x), w1))
    return x + F.linear(h, w2) + F.linear(F.linear(x, w1), w2)


def run_blocks(wrap):
    """Run three blocks -> the loss, and the gradients of the input and all parameters, as bytes."""
    rng = Random("blocks")
    x = Tensor(rng.normal((5, 4)), requires_grad=True)
    weights = [(Tensor(rng.normal((4, 6)), True), Tensor(rng.normal((6, 4)), True)) for _ in range(3)]
    h = x * 2
    for pair in weights:
        h = wrap(lambda h, pair=pair: block(h, *pair), h, pair)
    loss = (h * h).mean()
    loss.backward()
    return [loss.data.tobytes(), x.grad.tobytes(), *(w.grad.tobytes() for pair in weights for w in pair)]


def plain(fn, x, params):
    return fn(x)


def nested(fn, x, params):
    return checkpoint(lambda x: checkpoint(fn, x, params=params), x, params=params)


@pytest.mark.parametrize("wrap", [lambda fn, x, params: checkpoint(fn, x, params=params), nested])
def test_checkpoint_gives_the_same_bits(wrap):
    assert run_blocks(wrap) == run_blocks(plain)


def test_checkpoint_runs_the_function_again_and_records_nothing_the_first_time():
    calls = []
    w = Tensor(np.ones((4, 4)), requires_grad=True)

    def fn(x):
        y = F.linear(x, w)
        calls.append(y.requires_grad)
        return y

    y = checkpoint(fn, Tensor(np.ones((2, 4))), params=[w])
    assert calls == [False]
    with no_grad():  # whatever the caller's mode, the second run records
        y.backward(np.ones((2, 4)))
    assert calls == [False, True]
    assert np.array_equal(w.grad, np.full((4, 4), 2))


def test_checkpoint_passes_by_what_needs_no_gradient():
    frozen, w = Tensor(np.ones((4, 4))), Tensor(np.ones((4, 4)), requires_grad=True)
    checkpoint(lambda ids: F.embedding(w, ids), Tensor([0, 3, 3]), params=[w]).sum().backward()
    assert w.grad.tolist() == [[1] * 4, [0] * 4, [0] * 4, [2] * 4]
    y = checkpoint(lambda x, f: x @ f @ w, Tensor(np.ones((2, 4))), frozen, params=[w])
    y.sum().backward()
    assert frozen.grad is None and (w.grad >= 8).all()
    with no_grad():
        assert not checkpoint(lambda x: x @ w, frozen, params=[w]).requires_grad


@pytest.mark.parametrize("outside", [lambda w: w, lambda w: w * 2])
@pytest.mark.parametrize("needed", [True, False])
def test_checkpoint_refuses_a_parameter_that_was_not_listed(outside, needed):
    """It is refused at once if no other input needs a gradient, else in the backward pass."""
    w, x = Tensor(np.ones((4, 4)), requires_grad=True), Tensor(np.ones((2, 4)), requires_grad=needed)
    hidden = outside(w)
    with pytest.raises(RuntimeError, match="params="):
        checkpoint(lambda x: F.linear(x, hidden), x).sum().backward()
    assert w.grad is None and x.grad is None
