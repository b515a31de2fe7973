"""Check layers of experts: bits, gradients, and the balance loss, which keeps all experts in use."""

import numpy as np
from hypothesis import given, strategies as st

import tinyllm as tl
from tinyllm import ops, threads
from tinyllm.models.mixtral import Experts


def made(count, top, seed=0, normalise=True):
    layer, rng = Experts(16, 12, count, top, normalise), np.random.default_rng(seed)
    for p in layer.parameters():
        p.data = rng.normal(size=p.shape).astype(np.float32) * 0.5
    return layer, tl.Tensor(rng.normal(size=(2, 5, 16)).astype(np.float32))


@given(count=st.integers(1, 6), top=st.integers(1, 6), seed=st.integers(0, 99), normalise=st.booleans())
def test_a_token_gets_the_weighted_sum_of_its_best_experts_in_any_order(count, top, seed, normalise):
    top = min(top, count)
    layer, x = made(count, top, seed, normalise)
    before, counts, rows = layer(x).data, layer.counts, x.data.reshape(10, 16)
    p = np.exp(rows @ layer.gate.weight.data)
    p /= p.sum(-1, keepdims=True)
    weights = np.where(p >= np.sort(p)[:, -top, None], p, 0)
    weights /= weights.sum(-1, keepdims=True) if normalise else 1
    results = [expert(tl.Tensor(rows)).data for expert in layer.experts]
    expected = sum(w[:, None] * y for w, y in zip(weights.T, results, strict=True))
    np.testing.assert_allclose(before.reshape(10, 16), expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(counts, (weights > 0).sum(0)) and np.allclose(layer.p.data, p, atol=1e-5)
    assert layer(tl.Tensor(np.zeros((1, 0, 16), np.float32))).shape == (1, 0, 16)
    order = np.random.default_rng(seed).permutation(count)
    layer.gate.weight.data = np.ascontiguousarray(layer.gate.weight.data[:, order])
    layer.experts = [layer.experts[i] for i in order]
    np.testing.assert_allclose(layer(x).data, before, rtol=1e-4, atol=1e-5)


def test_the_balance_loss_is_least_when_all_experts_are_used_alike_and_training_adds_it():
    layer, x = made(4, 1)
    layer.gate.weight.data = np.zeros_like(layer.gate.weight.data)
    layer(x)
    assert np.isclose(ops.balance_loss(layer.p.data, layer.chosen), 1)  # uniform probabilities
    eye = tl.Tensor(np.eye(16, dtype=np.float32)[None, :4] * 50)  # each token is routed to another expert
    layer.gate.weight.data = np.eye(16, 4, dtype=np.float32)
    layer(eye)
    assert np.isclose(ops.balance_loss(layer.p.data, layer.chosen), 1)
    layer(tl.Tensor(np.repeat(eye.data[:, :1], 4, 1)))  # all tokens are routed to one expert
    assert np.isclose(ops.balance_loss(layer.p.data, layer.chosen), 4)
    sizes = {"context": 8, "layers": 2, "heads": 2, "width": 16, "hidden": 12, "experts": 4, "balance": 0.1}
    model = tl.build({"model_type": "mixtral", "vocab_size": 13, **sizes}).train()
    tokens = np.random.default_rng(0).integers(0, 13, (8, 9))
    loss, layers = model.loss(tokens[:, :-1], tokens[:, 1:]).item(), model.of_kind(Experts).values()
    p, chosen = (np.concatenate(x) for x in zip(*[(e.p.data, e.chosen) for e in layers], strict=True))
    extra = 0.1 * ops.balance_loss(p, chosen)
    assert np.isclose(model.eval().loss(tokens[:, :-1], tokens[:, 1:]).item() + extra, loss, rtol=1e-5)


def test_one_call_for_all_experts_has_the_bits_of_one_call_for_each_and_of_any_batch_and_threads():
    """An expert with a tap, or under an override, is called alone, with the tokens that chose it."""
    layer, x = made(4, 2)
    x = tl.Tensor(np.tile(x.data, (8, 9, 1)))
    wanted = [digest(layer, x) for n in (1, 2, 3) if threads(n)]
    assert wanted[0] == wanted[1] == wanted[2]
    whole = layer(x).data
    assert layer(x[3:4, 7:8]).data.tobytes() == whole[3:4, 7:8].tobytes()
    with tl.nn.tap(layer, "experts.1", lambda x, y: None):
        assert layer(x).data.tobytes() == whole.tobytes()
    with tl.override(linear=lambda x, w, b=None: ops.linear.reference(x, w, b) * (w.shape != (12, 16))):
        assert not layer(x).data.any()  # all experts return zeros
    matrices, counts = [expert.up_proj.weight.data for expert in layer.experts], np.array([3, 0, 5, 2])
    listed, stacked = (ops.grouped_linear(x.data[0, :1].repeat(10, 0), w, counts)
                       for w in (matrices, np.stack(matrices)))
    assert listed.tobytes() == stacked.tobytes()


def digest(layer, x):
    """Return the bits of a layer's result and of the gradients of its parameters."""
    for p in layer.parameters():
        p.grad = None
    y = layer(x)
    (y * y).sum().backward()
    return [y.data.tobytes(), *(p.grad.tobytes() for p in layer.parameters())]
