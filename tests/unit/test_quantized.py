"""Check quantised layers and models: their errors, what they refuse, and what is fused.

test_family_folders.py saves and loads them, test_bits.py checks that rows do not depend on each other, and
test_recipes.py and sessions/look.txt run `tinyllm compress`.
"""

import numpy as np
import pytest
from helpers import refuses
from hypothesis import given, strategies as st

from tinyllm import GPT, GPTConfig, Random, Tensor, no_grad, ops
from tinyllm.nn import Int4Linear, Int8Linear, Linear, quantize
from tinyllm.ops.quant import bfloat16, dequantize, from_bfloat16, spread
from tinyllm.testing import CASES

LAYERS = {8: Int8Linear, 4: Int4Linear}
CONFIG = GPTConfig(vocab_size=67, context=24, layers=2, heads=2, width=40)  # 32 divides no size
bits = pytest.mark.parametrize("bits", [8, 4])


def packed(bits, w):
    """Quantise weights; return the dequantised weights and the largest error of each: both (I, O)."""
    q, scales = getattr(ops, f"quantize_int{bits}")(np.ascontiguousarray(w))
    scale = np.repeat(np.abs(spread(scales)), 32, axis=0)[: w.shape[0], : w.shape[1]].astype(np.float64)
    off = scale * (0.5 if bits == 8 else 1.05)  # 4 bits may clip 8 scales to 7
    return dequantize(bits, q, scales, *w.shape), off


@bits
@given(data=st.data())
def test_a_weight_is_off_by_no_more_than_its_scale_allows_and_the_largest_by_less(bits, data):
    """Models lose much more where the largest of a block shrinks, as by the scale of least squares."""
    (w,) = data.draw(CASES[f"quantize_int{bits}"])
    for backend in ops.OPS[f"quantize_int{bits}"].implementations:
        with ops.use(backend):
            back, most = packed(bits, w)
        off = np.abs(back.astype(np.float64) - w)
        assert (off <= most).all()
        for n in range(0, len(w) * (w.size > 0), 32):
            block = np.abs(w[n : n + 32] * (1 + 1e-9 * (w[n : n + 32] > 0)))  # of m and -m, m is the larger
            largest = block.argmax(axis=0), np.arange(w.shape[1])
            assert (off[n : n + 32][largest] <= block[largest] / 250 + 1e-39).all()


@bits
def test_scales_are_those_of_blocks_and_huge_and_tiny_weights_keep_their_promise(bits):
    w = np.full((96, 3), 0.01, np.float32)
    w[40, 1] = 1000
    back, _ = packed(bits, w)
    assert np.abs(back[:32] - w[:32]).max() < 1e-3 and np.abs(back[:, 0] - w[:, 0]).max() < 1e-3
    assert back[33, 1] == 0 and abs(back[40, 1] - 1000) < 4  # a scale is a bfloat16
    sizes = np.array([1.7e38, 1e30, 1.0, 1e-30, 1e-38, 1e-41, 0.0], np.float32)
    w = Random("sizes").uniform((64, 7)).astype(np.float32) * sizes
    back, off = packed(bits, w)
    assert np.isfinite(back).all() and not back[:, 6].any()
    assert (np.abs(back.astype(np.float64) - w) <= off + 1e-40).all()


@pytest.mark.parametrize("draw", ["normal", "laplace", "standard_cauchy"])
def test_four_bits_are_nearer_than_those_of_ggml(draw):
    """Compare blocks whose scales are exact in both formats, as those of weights that were bfloat16."""
    w = from_bfloat16(bfloat16(getattr(np.random.default_rng(0), draw)(size=(64, 32, 16)).astype(np.float32)))
    ours = packed(4, w.reshape(-1, 16))[0].reshape(w.shape)
    high, low = w.max(axis=1, keepdims=True), w.min(axis=1, keepdims=True)
    d = np.where(high >= -low, high, low) / -8  # ggml-quants.c, Q4_0
    theirs = (np.clip(np.floor(w / d + 8.5), 0, 15) - 8) * d
    near, far = (((x - w) ** 2).sum(axis=1) / np.abs(w).max(axis=1) ** 2 for x in (ours, theirs))
    assert (near <= far * 1.001).all() and near.mean() < 0.995 * far.mean()


@bits
@pytest.mark.parametrize("value", [np.nan, -np.inf, 2.0**127])
def test_weights_that_are_broken_are_refused(bits, value):
    w, model = np.ones((70, 20), np.float32), GPT(CONFIG)
    w[69, 19] = model.h[1].mlp.c_proj.weight.data[3, 3] = value
    for quantized in ops.OPS[f"quantize_int{bits}"].implementations.values():
        refuses("finite weights below", quantized, w, error=ValueError)
    before = {name for name, _ in model.named_parameters()}
    refuses(r"cannot quantise h\.1\.mlp\.c_proj.*finite", quantize, model, bits)
    assert {name for name, _ in model.named_parameters()} == before


@bits
@pytest.mark.parametrize("n_in, n_out", [(1, 1), (31, 5), (32, 16), (33, 17), (2048, 16)])
def test_a_layer_is_near_to_the_one_it_was_made_from(bits, n_in, n_out):
    """Bound the error: each weight is off by at most its bound, each input by half of its scale."""
    linear, x = Linear(n_in, n_out), Random("x").normal((5, n_in))
    for i, p in enumerate(linear.parameters()):
        p.data[...] = Random("layer", i).normal(p.shape)
    quantised = LAYERS[bits].from_weights(linear.weight.data, linear.bias.data)
    y, near = linear(Tensor(x)).data, quantised(Tensor(x)).data
    _, off = packed(bits, linear.weight.data)
    _, x_scale = ops.quantize_rows(x)
    x_scale = np.repeat(x_scale, 32, axis=1)[:, :n_in]
    bound = (np.abs(x) + x_scale / 2) @ off + x_scale / 2 @ np.abs(linear.weight.data)
    assert (np.abs(near - y) <= 1.001 * bound + 1e-4).all()
    assert np.abs(near - y).max() < (0.03 if bits == 8 else 0.4) * n_in**0.5  # the errors mostly cancel
    x[1, -1] = np.inf
    y = quantised(Tensor(x)).data  # NaN stays in its row
    assert np.isnan(y[1]).all() and np.isfinite(y[[0, 2, 3, 4]]).all()


@bits
def test_quantize_swaps_every_linear_keeps_the_rest_and_trains_what_is_below(bits):
    model, original = GPT(CONFIG, seed=3), GPT(CONFIG, seed=3)
    assert quantize(model, bits) is model
    kinds = [type(module) for _, module in model.named_modules()]
    assert Linear not in kinds and kinds.count(LAYERS[bits]) == 4 * CONFIG.layers + 1
    kept = dict(original.named_parameters())
    assert {name for name, _ in model.named_parameters()} == {
        name for name in kept if name.startswith(("wte", "wpe", "ln")) or ".ln_" in name}
    assert all(np.array_equal(p.data, kept[name].data) for name, p in model.named_parameters())
    tokens = Random("tokens").integers(67, (2, 20))
    with no_grad():
        y, near = original(tokens).data, model(tokens).data
    assert not np.array_equal(y, near) and np.abs(y - near).max() < (0.02 if bits == 8 else 0.3)
    layer, x = model.h[0].mlp.c_fc, Tensor(np.ones((2, CONFIG.width), np.float32), requires_grad=True)
    layer(x).sum().backward()
    np.testing.assert_allclose(x.grad, np.tile(layer.dequantized().sum(axis=1), (2, 1)), rtol=1e-5, atol=1e-5)
    for wrong, other, message in ((5, original, "8 or 4 bits, not 5"), (12 - bits, model, "cannot become")):
        refuses(message, quantize, other, wrong)
