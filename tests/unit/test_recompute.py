"""Check which arrays `recompute` drops, and what a tap sees; test_family_laws.py compares the bits."""

import numpy as np
import pytest

import tinyllm.functional as F
from tinyllm import Random, UserError, build, nn, ops
from tinyllm.ops.runtime import _compiled
from tinyllm.tensor import Tensor, no_grad, remaking

SIZES = {"vocab_size": 32, "context": 16, "layers": 2, "heads": 4, "width": 64}
MODELS = {
    "gpt": {"model_type": "gpt2", **SIZES, "dropout": 0.1},
    "gpt plain": {"model_type": "gpt2", **SIZES},
    "llama": {"model_type": "llama", **SIZES, "hidden": 128},
}
TOKENS = Random("tokens").integers(32, (4, 17))
ARRAY = 64 * 64 * 4  # bytes of an array (B, T, C)


def trained(model):
    """Run a forward and a backward pass; return the bytes that are in use between the two."""
    memory = _compiled.memory if _compiled else lambda: {"used": 0}
    before = memory()["used"]
    loss = model.loss(TOKENS[:, :-1], TOKENS[:, 1:])
    held = memory()["used"] - before
    loss.backward()
    return held


@pytest.mark.skipif(_compiled is None, reason="a promise of the kernels, and they are not built")
@pytest.mark.parametrize(("name", "few", "all_of_them"), [("gpt plain", 6, 16), ("llama", 6, 15)])
def test_the_forward_pass_keeps_few_arrays_for_each_layer(name, few, all_of_them):
    """A layer keeps 6 arrays: the residual stream twice, queries, keys, values and attention's result."""

    def kept(layers, large):
        return trained(nn.recompute(build(MODELS[name] | {"layers": layers}), large)) / ARRAY

    with ops.use("compiled"):
        made_again, all_kept = (kept(3, large) - kept(2, large) for large in (0, float("inf")))
    assert few <= made_again < few + 0.5  # the rest: statistics of rows
    assert all_of_them - 1 <= all_kept < all_of_them + 0.5


def test_small_inputs_inference_and_bf16_keep_everything(monkeypatch):
    dropped = []
    monkeypatch.setattr("tinyllm.nn.passes.remaking", lambda: dropped.append(1) or remaking())
    model = build(MODELS["gpt"])
    trained(nn.recompute(model, ARRAY + 1))
    with no_grad():
        nn.recompute(model, 0)(TOKENS[:, :-1])
    with ops.use(matmul="bf16"):
        trained(model)
    assert not dropped
    trained(nn.recompute(model, ARRAY))
    assert len(dropped) == 2


def test_activations_are_recomputed_once_and_by_the_override_too():
    calls, x = [], Tensor(np.ones((3, 4), np.float32), requires_grad=True)
    with ops.override(silu=lambda x: calls.append(x) or ops.silu.reference(x)):
        with remaking():
            y = F.swiglu(x, x)
        assert y.data is y.data and len(calls) == 2
        y.sum().backward()
    np.testing.assert_allclose(x.grad, 1.6587, rtol=1e-4)


@pytest.mark.parametrize("name, part", [
    ("gpt", "h.0.mlp.c_fc"), ("gpt", "lm_head"), ("llama", "model.layers.1.self_attn"),
    ("llama", "model.layers.0"),
])
def test_a_tap_sees_a_part_and_may_change_it(name, part):
    model, seen, tokens = build(MODELS[name]).eval(), [], TOKENS[:, :-1]
    with no_grad():
        before, loss = model(tokens).data, model.loss(tokens, TOKENS[:, 1:]).item()
        with nn.tap(model, part, lambda x, y: seen.append((x, y))) as module:
            assert np.array_equal(model(tokens).data, before) and module is dict(model.named_modules())[part]
            assert np.isclose(model.loss(tokens, TOKENS[:, 1:]).item(), loss)  # also in the fused loss
        assert len(seen) == 2 and seen[0][0].shape[:2] == seen[0][1].shape[:2] == (4, 16)
        with nn.tap(model, part, lambda x, y: y * 0), nn.tap(model, part, lambda x, y: seen.append((x, y))):
            changed = model(tokens).data
        assert not np.allclose(changed, before) and not seen[-1][1].data.any()
        assert np.array_equal(model(tokens).data, before)
    with pytest.raises(UserError), nn.tap(model, "h.7", print):
        pass
