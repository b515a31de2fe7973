"""Layers of experts: what routing keeps, and the loss that keeps all experts in use."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.models import build
from tinyllm.nn import Experts, balance_loss
from tinyllm.tensor import Tensor

SIZES = {"vocab_size": 13, "context": 8, "layers": 2, "heads": 2, "kv_heads": 2, "width": 16, "hidden": 12}


def made(count, top, seed=0, normalise=True):
    layer, rng = Experts(16, 12, count, top, normalise), np.random.default_rng(seed)
    for p in layer.parameters():
        p.data = rng.normal(size=p.shape).astype(np.float32) * 0.5
    return layer, Tensor(rng.normal(size=(2, 5, 16)).astype(np.float32))


def test_one_expert_is_a_plain_mlp():
    layer, x = made(1, 1)
    np.testing.assert_array_equal(layer(x).data, layer.experts[0](x).data)


@given(count=st.integers(2, 6), top=st.integers(1, 3), seed=st.integers(0, 99), normalise=st.booleans())
def test_the_order_of_the_experts_does_not_matter(count, top, seed, normalise):
    top = min(top, count)
    layer, x = made(count, top, seed, normalise)
    before, order = layer(x).data, np.random.default_rng(seed).permutation(count)
    load = layer.load
    layer.gate.weight.data = np.ascontiguousarray(layer.gate.weight.data[:, order])
    layer.experts = [layer.experts[i] for i in order]
    np.testing.assert_allclose(layer(x).data, before, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layer.load, load[order])
    assert np.isclose(layer.load.sum(), top) and np.isclose(layer.wanted.data.sum(), 1)


def test_a_token_that_wants_all_experts_gets_their_weighted_sum():
    layer, x = made(3, 3)
    p = np.exp(x.data @ layer.gate.weight.data)
    p /= p.sum(-1, keepdims=True)
    expected = sum(p[..., i : i + 1] * expert(x).data for i, expert in enumerate(layer.experts))
    np.testing.assert_allclose(layer(x).data, expected, rtol=1e-4, atol=1e-5)


def test_the_balance_loss_is_least_when_all_experts_are_used_alike():
    layer, x = made(4, 1)
    layer.gate.weight.data = np.zeros_like(layer.gate.weight.data)
    layer(x)
    assert np.isclose(balance_loss([layer]).item(), 1)  # uniform probabilities
    eye = Tensor(np.eye(16, dtype=np.float32)[None, :4] * 50)  # each token wants an expert of its own
    layer.gate.weight.data = np.eye(16, 4, dtype=np.float32)
    layer(eye)
    assert np.isclose(balance_loss([layer]).item(), 1)
    layer(Tensor(np.repeat(eye.data[:, :1], 4, 1)))  # all tokens want the same one
    assert np.isclose(balance_loss([layer]).item(), 4)


def test_training_adds_the_balance_loss():
    rng = np.random.default_rng(0)
    model = build({"model_type": "mixtral", **SIZES, "experts": 4, "balance": 0.1}).train()
    tokens = rng.integers(0, 13, (8, 9))
    layers = [m for _, m in model.named_modules() if isinstance(m, Experts)]
    loss = model.loss(tokens[:, :-1], tokens[:, 1:]).item()
    extra = 0.1 * balance_loss(layers).item()
    assert np.isclose(model.eval().loss(tokens[:, :-1], tokens[:, 1:]).item() + extra, loss, rtol=1e-5)
