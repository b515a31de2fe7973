"""Check that passes over a model keep its bits: fusing, recomputing and watching."""

import copy

import numpy as np
import pytest

import tinyllm.functional as F
from tinyllm import nn, ops
from tinyllm.errors import UserError
from tinyllm.models import GPT, GPTConfig, Llama, LlamaConfig
from tinyllm.ops.runtime import _compiled, memory
from tinyllm.rng import Random
from tinyllm.tensor import Tensor, no_grad, remaking

BACKENDS = ["numpy"] + ["compiled"] * (_compiled is not None)
SIZES = {"vocab_size": 32, "context": 16, "layers": 2, "heads": 4, "width": 64}
MODELS = {
    "gpt": lambda **sizes: GPT(GPTConfig(**(SIZES | sizes), dropout=0.1)),
    "gpt without bias": lambda **sizes: GPT(GPTConfig(**(SIZES | sizes), bias=False)),
    "llama": lambda **sizes: Llama(LlamaConfig(**(SIZES | sizes), kv_heads=4, hidden=128)),
}
TOKENS = Random("tokens").integers(32, (4, 17))
kernels = pytest.mark.skipif(_compiled is None, reason="a promise of the kernels, and they are not built")
never = float("inf")


def plain(model):
    """Undo the passes that every new model gets."""
    nn.recompute(model, never)
    for _, module in model.named_modules():
        if type(module) is nn.MLP:
            module.hooks = ()
    return model


def gradients(model):
    """Run one forward and backward pass -> the loss and all gradients, as bytes by name."""
    model.dropout_stream(0, 0)
    loss = model.loss(TOKENS[:, :-1], TOKENS[:, 1:])
    loss.backward()
    return {"loss": loss.data.tobytes()} | {name: p.grad.tobytes() for name, p in model.named_parameters()}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", MODELS)
def test_passes_change_no_bit(name, backend):
    make = MODELS[name]
    with ops.use(backend):
        expected = gradients(plain(make()))
        assert gradients(make()) == expected
        assert gradients(nn.recompute(make(), 0)) == expected
        assert gradients(copy.deepcopy(nn.recompute(make(), 0))) == expected


@kernels
@pytest.mark.parametrize(("name", "few", "all_of_them"), [("gpt without bias", 6, 16), ("llama", 6, 15)])
def test_the_forward_pass_keeps_few_arrays_for_each_layer(name, few, all_of_them):
    """The residual stream twice, queries, keys, values and what attention made of them."""

    def kept(layers, large):
        model = nn.recompute(MODELS[name](layers=layers), large)
        before = memory()["used"]
        loss = model.loss(TOKENS[:, :-1], TOKENS[:, 1:])
        held = memory()["used"] - before
        loss.backward()
        return held / (64 * 64 * 4)  # in arrays of (B, T, C)

    with ops.use("compiled"):
        made_again, all_kept = (kept(3, large) - kept(2, large) for large in (0, never))
    assert few <= made_again < few + 0.5  # the rest are attention's and the norms' numbers of each row
    assert all_of_them - 1 <= all_kept < all_of_them + 0.5


@pytest.fixture
def blocks(monkeypatch):
    """Count the blocks whose arrays are dropped."""
    calls = []
    monkeypatch.setattr("tinyllm.nn.passes.remaking", lambda: calls.append(1) or remaking())
    return calls


def test_small_inputs_inference_and_bf16_keep_everything(blocks):
    size = 64 * 64 * 4  # bytes of (B, T, C)
    gradients(nn.recompute(MODELS["gpt"](), size + 1))
    with no_grad():
        nn.recompute(MODELS["gpt"](), 0)(TOKENS[:, :-1])
    with ops.use(matmul="bf16"):
        gradients(nn.recompute(MODELS["gpt"](), 0))
    assert not blocks
    gradients(nn.recompute(MODELS["gpt"](), size))
    assert len(blocks) == 2


def test_activations_are_recomputed_once_and_by_the_override_too():
    calls = []

    def silu(x):
        calls.append(x.shape)
        return ops.silu.reference(x)

    x = Tensor(np.ones((3, 4), np.float32), requires_grad=True)
    with ops.override(silu=silu):
        with remaking():
            y = F.swiglu(x, x)
        assert len(calls) == 1
        assert y.data is y.data and len(calls) == 2 and y.shape == (3, 4)
        y.sum().backward()
    np.testing.assert_allclose(x.grad, 1.6587, rtol=1e-4)


@pytest.mark.parametrize("name, part", [
    ("gpt", "h.0.mlp.c_fc"), ("gpt", "lm_head"), ("llama", "model.layers.1.self_attn"),
    ("llama", "model.layers.0"),
])
def test_a_tap_sees_a_part_and_may_change_it(name, part):
    model, seen = MODELS[name]().eval(), []
    tokens, targets = TOKENS[:, :-1], TOKENS[:, 1:]
    with no_grad():
        before, loss = model(tokens).data, model.loss(tokens, targets).item()
        with nn.tap(model, part, lambda x, y: seen.append((x, y))) as module:
            assert np.array_equal(model(tokens).data, before) and module is dict(model.named_modules())[part]
            again = module.hooks
            assert np.isclose(model.loss(tokens, targets).item(), loss)
        assert len(seen) == 2 and seen[0][0].shape[:2] == seen[0][1].shape[:2] == (4, 16)
        assert module.hooks != again
        with nn.tap(model, part, lambda x, y: y * 0), nn.tap(model, part, lambda x, y: seen.append((x, y))):
            changed = model(tokens).data
        assert not np.allclose(changed, before) and not seen[-1][1].data.any()
        assert np.array_equal(model(tokens).data, before)
    with pytest.raises(UserError), nn.tap(model, "h.7", print):
        pass
