"""What training makes again instead of keeping it: the same bits for less memory, where it is worth it."""

import numpy as np
import pytest

import tinyllm.functional as F
from tinyllm import ops
from tinyllm.models import GPT, GPTConfig, Llama, LlamaConfig
from tinyllm.nn import layers
from tinyllm.ops.registry import _compiled, empty, memory
from tinyllm.rng import Random
from tinyllm.tensor import Tensor, no_grad

BACKENDS = ["numpy"] + ["compiled"] * (_compiled is not None)
SIZES = {"vocab_size": 32, "context": 16, "layers": 2, "heads": 4, "width": 64}
MODELS = {
    "gpt": lambda: GPT(GPTConfig(**SIZES, dropout=0.1)),
    "gpt without bias": lambda: GPT(GPTConfig(**SIZES, bias=False)),
    "llama": lambda: Llama(LlamaConfig(**SIZES, kv_heads=2, hidden=96)),
}
TOKENS = Random("tokens").integers(32, (4, 17))
kernels = pytest.mark.skipif(_compiled is None, reason="a promise of the kernels, and they are not built")


@pytest.fixture
def keep(monkeypatch):
    """Sets from which size on, in bytes, inputs are large, and how many rows are a chunk."""

    def sizes(large, rows=1024):
        monkeypatch.setattr(layers, "LARGE", large)
        monkeypatch.setattr(F, "ROWS", rows)

    return sizes


@pytest.fixture
def again(monkeypatch):
    """Collects the shapes of the inputs that linear_after is called with."""
    calls, function = [], F.linear_after

    def spy(first, x, *rest):
        calls.append(x.shape)
        return function(first, x, *rest)

    monkeypatch.setattr(F, "linear_after", spy)
    return calls


def gradients(make):
    """One forward and backward pass of a new model -> the loss and all gradients, by name."""
    model = make()
    model.dropout_stream(0, 0)
    loss = model.loss(TOKENS[:, :-1], TOKENS[:, 1:])
    loss.backward()
    return {"loss": loss.data} | {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("model", MODELS)
def test_what_is_made_again_has_the_bits_of_what_is_kept(model, backend, keep, again):
    with ops.use(backend):
        keep(large=1 << 40)
        kept = gradients(MODELS[model])
        assert not again
        keep(large=0)
        made = gradients(MODELS[model])
    assert len(again) == (2 if model == "llama" else 4)
    assert {name: g.tobytes() for name, g in made.items()} == {name: g.tobytes() for name, g in kept.items()}


@kernels
@pytest.mark.parametrize("model", MODELS)
def test_chunks_change_no_bit_of_a_row_and_hardly_a_sum(model, keep):
    with ops.use("compiled"):
        keep(large=1 << 40)
        kept = gradients(MODELS[model])
        keep(large=0, rows=13)
        made = gradients(MODELS[model])
    first = "wpe.weight" if "gpt" in model else "model.embed_tokens.weight"  # made of gradients of rows only
    for name in ("loss", first):
        assert made[name].tobytes() == kept[name].tobytes()
    for name, g in kept.items():
        assert np.allclose(made[name], g, rtol=1e-4, atol=1e-6 * abs(g).max())


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_of_weights_are_summed_in_the_order_of_the_chunks(backend, keep):
    rng = Random("chunks")
    x, v, w, b, dy = (rng.normal(s) for s in ((3, 7, 16), (16, 32), (32, 16), (16,), (3, 7, 16)))

    def again(x, v, w, b):
        return F.linear_after(lambda x: F.linear_gelu(x, v), x, w, b, [v])

    def whole(x, v, w, b):
        return F.linear(F.linear_gelu(x, v), w, b)

    def run(function, x, dy):
        leaves = [Tensor(a, requires_grad=True) for a in (x, v, w, b)]
        y = function(*leaves)
        y.backward(dy)
        return y.data, *(leaf.grad for leaf in leaves)

    keep(large=0, rows=8)
    with ops.use(backend):
        y, dx, *grads = run(again, x, dy)
        rows, drows = x.reshape(21, 16), dy.reshape(21, 16)
        parts = [run(whole, rows[i : i + 8], drows[i : i + 8]) for i in (0, 8, 16)]
    assert np.array_equal(y.reshape(21, 16), np.concatenate([part[0] for part in parts]))
    assert np.array_equal(dx.reshape(21, 16), np.concatenate([part[1] for part in parts]))
    for total, (one, two, three) in zip(grads, [[p[i] for p in parts] for i in (2, 3, 4)], strict=True):
        assert np.array_equal(total, one + two + three)


@kernels
@pytest.mark.parametrize(("make", "few", "all_of_them"), [
    (lambda **sizes: GPT(GPTConfig(**sizes)), 6, 16),
    (lambda **sizes: Llama(LlamaConfig(**sizes, kv_heads=4, hidden=128)), 7, 14),  # the first norm
])
def test_the_forward_pass_keeps_few_arrays_for_each_layer(make, few, all_of_them, keep):
    """The residual stream twice, queries, keys, values and what attention made of them."""

    def kept(layers, large):
        keep(large, rows=16)
        model = make(**(SIZES | {"layers": layers}))
        before = memory()["used"]
        loss = model.loss(TOKENS[:, :-1], TOKENS[:, 1:])
        held = memory()["used"] - before
        loss.backward()
        return held / (64 * 64 * 4)  # in arrays of (B, T, C)

    with ops.use("compiled"):
        made_again, all_kept = (kept(3, large) - kept(2, large) for large in (0, 1 << 40))
    assert few <= made_again < few + 0.5  # the rest are attention's and the norms' numbers of each row
    assert all_of_them <= all_kept < all_of_them + 0.5


@pytest.mark.parametrize("switch", ["matmul", "linear"])
def test_products_in_bf16_keep_everything(switch, keep, again):
    keep(large=0)
    with ops.use(**{switch: "bf16"}):
        gradients(MODELS["gpt"])
    assert not again


def test_small_inputs_and_inference_keep_everything(keep, again):
    keep(large=64 * 64 * 4 + 1)  # bytes of (B, T, C), and one more
    gradients(MODELS["gpt"])
    keep(large=0)
    with no_grad():
        MODELS["gpt"]()(TOKENS[:, :-1])
    assert not again
    keep(large=64 * 64 * 4)
    gradients(MODELS["gpt"])
    assert set(again) == {(4, 16, 64)}


def test_an_override_reaches_each_chunk_both_times(keep):
    seen = []

    def gelu_tanh(x):
        seen.append(len(x))
        return ops.gelu_tanh.reference(x)

    keep(large=0, rows=40)
    with ops.override(gelu_tanh=gelu_tanh):
        gradients(MODELS["gpt"])
    assert sorted(seen) == [24] * 4 + [40] * 4  # 64 rows in two chunks, two layers, forward and backward


def test_a_parameter_that_was_not_listed_is_refused():
    x, w, hidden = (Tensor(np.ones((4, 4), np.float32), requires_grad=True) for _ in range(3))
    y = F.linear_after(lambda x: F.linear(x, hidden), x, w)
    with pytest.raises(RuntimeError, match="params="):
        y.sum().backward()
    assert x.grad is None and w.grad is None and hidden.grad is None
    F.linear_after(lambda x: F.linear(x, hidden), x.detach(), w.detach()).sum().backward()
    assert hidden.grad is not None  # nothing else needs a gradient, so all of it was recorded


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_go_only_where_they_are_needed(backend):
    x, frozen, w = (Tensor(np.ones(shape, np.float32)) for shape in ((5, 4), (4, 3), (3, 2)))
    w.requires_grad = True
    with ops.use(backend):
        F.linear_after(lambda x: F.linear(x, frozen), x, w, None, [frozen]).sum().backward()
        assert frozen.grad is None and w.grad.tolist() == [[20, 20]] * 3
        x = Tensor(np.ones((0, 3), np.float32), requires_grad=True)
        F.linear_after(F.silu, x, w).backward(np.ones((0, 2), np.float32))
        assert x.grad.shape == (0, 3) and w.grad.tolist() == [[20, 20]] * 3
        x = Tensor(np.ones((5, 3), np.float32), requires_grad=True)
        F.linear_after(lambda x: x.detach(), x, w).sum().backward()
    assert x.grad.tolist() == [[0, 0, 0]] * 5


@kernels
def test_an_empty_array_lies_on_a_block_of_the_pool():
    before = memory()["used"]
    array = empty((100, 10), np.float32)
    assert (array.shape, array.dtype) == ((100, 10), np.float32)
    assert memory()["used"] >= before + 4000
    del array
    wide = empty((100, 10), np.float64)
    assert wide.dtype == np.float64 and memory()["used"] == before
