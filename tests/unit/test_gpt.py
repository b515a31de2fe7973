"""GPT: an independent forward pass, causality, names and counts, and every error that a user can make."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.models import GPT, GPTConfig
from tinyllm.nn import checkpoint, summarise
from tinyllm.ops.registry import OPS
from tinyllm.tensor import Tensor

USED = ("linear", "matmul", "attention", "layernorm", "linear_gelu", "embedding", "add")
BACKENDS = ["numpy"] + ["compiled"] * all(OPS[name].compiled for name in USED)  # else no bits are promised
TINY = {"vocab_size": 11, "context": 8, "layers": 2, "heads": 2, "width": 12}


def tiny(seed=0, std=0.4, **changes):
    """A small model whose weights are large enough for every part of it to matter."""
    model = GPT(GPTConfig(**(TINY | changes)), seed=None)
    rng = np.random.default_rng(seed)
    for p in model.parameters():
        p.data[...] += rng.normal(size=p.shape) * std
    return model


def plain_gpt2(w, tokens, layers, heads, eps):
    """GPT-2's forward pass on a dict of weights, one sequence, heads in a loop: tokens (T,) -> (T, V)."""

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x, name):
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    T = len(tokens)
    x = w["wte.weight"][tokens] + w["wpe.weight"][:T]
    for layer in range(layers):
        h = f"h.{layer}"
        q, k, v = np.split(linear(norm(x, f"{h}.ln_1"), f"{h}.attn.c_attn"), 3, axis=-1)
        heads_out = []
        for part in np.split(np.arange(x.shape[1]), heads):
            scores = q[:, part] @ k[:, part].T / np.sqrt(len(part))
            scores[np.triu_indices(T, 1)] = -np.inf
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            heads_out.append(weights / weights.sum(-1, keepdims=True) @ v[:, part])
        x = x + linear(np.concatenate(heads_out, -1), f"{h}.attn.c_proj")
        a = linear(norm(x, f"{h}.ln_2"), f"{h}.mlp.c_fc")
        x = x + linear(0.5 * a * (1 + np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3))), f"{h}.mlp.c_proj")
    return norm(x, "ln_f") @ w["wte.weight"].T


@given(st.lists(st.integers(0, 10), min_size=1, max_size=8), st.integers(0, 9))
def test_equals_an_independent_forward_pass(tokens, seed):
    model = tiny(seed)
    weights = {name: a.astype(np.float64) for name, a in model.state_dict().items()}
    expected = plain_gpt2(weights, np.array(tokens), layers=2, heads=2, eps=1e-5)
    logits = model(tokens)
    assert logits.shape == (1, len(tokens), 11) and logits.dtype == np.float32
    np.testing.assert_allclose(logits.data[0], expected, rtol=1e-3, atol=1e-3)
    with ops.use("numpy"):
        for p in model.parameters():
            p.data = p.data.astype(np.float64)
        np.testing.assert_allclose(model(np.array([tokens])).data[0], expected, rtol=1e-9, atol=1e-9)


def test_names_are_those_of_gpt2s_checkpoint():
    block = ["ln_1.weight", "ln_1.bias", "attn.c_attn.weight", "attn.c_attn.bias", "attn.c_proj.weight"]
    block += ["attn.c_proj.bias", "ln_2.weight", "ln_2.bias", "mlp.c_fc.weight", "mlp.c_fc.bias"]
    block += ["mlp.c_proj.weight", "mlp.c_proj.bias"]
    blocks = [f"h.{i}.{name}" for i in range(2) for name in block]
    names = ["wte.weight", "wpe.weight", *blocks, "ln_f.weight", "ln_f.bias"]
    assert [name for name, _ in GPT(GPTConfig(**TINY)).named_parameters()] == names
    without = [name for name, _ in GPT(GPTConfig(**TINY, bias=False)).named_parameters()]
    assert without == [name for name in names if not name.endswith("bias")]


def test_presets_have_the_published_sizes():
    counts = {
        name: GPT(GPTConfig(vocab_size=50257, **GPT.PRESETS[name]), seed=None).num_parameters()
        for name in GPT.PRESETS
    }
    assert counts["small"] == 124_439_808  # GPT-2
    assert counts["mini"] == 12 * 6 * 384**2 + 13 * 6 * 384 + (50257 + 256 + 2) * 384
    assert counts["nano"] == 12 * 4 * 128**2 + 13 * 4 * 128 + (50257 + 64 + 2) * 128


def test_initial_weights_follow_the_paper_and_the_seed():
    sizes = {"vocab_size": 300, "context": 64, "layers": 8, "heads": 4, "width": 64}
    model, same, other = (GPT(GPTConfig(**sizes), seed=seed) for seed in (5, 5, 6))
    for name, p in model.named_parameters():
        assert np.array_equal(p.data, same.state_dict()[name])
        if name.endswith("bias") or ".ln_" in name or name.startswith("ln_"):
            assert np.all(p.data == (0 if name.endswith("bias") else 1))
        else:
            std = 0.02 / 4 if name.endswith("c_proj.weight") else 0.02  # 1 / sqrt(2 * 8 layers)
            assert abs(p.data.std() / std - 1) < 0.05
            assert not np.array_equal(p.data, other.state_dict()[name])
    deeper = GPT(GPTConfig(**(sizes | {"layers": 9})), seed=5)
    assert np.array_equal(deeper.h[7].mlp.c_fc.weight.data, model.h[7].mlp.c_fc.weight.data)


def test_dropout_belongs_to_training_and_repeats_with_its_stream():
    model = GPT(GPTConfig(**TINY, dropout=0.3), seed=1)
    tokens = np.random.default_rng(0).integers(0, 11, (2, 8))

    def loss(*key):
        model.dropout_stream(*key)
        return model.loss(tokens, tokens).item()

    assert loss(1, 5) == loss(1, 5) != loss(1, 6)
    model.eval()
    plain = GPT(GPTConfig(**TINY), seed=1).loss(tokens, tokens).item()
    assert loss(1, 5) == loss(1, 6) == plain


def test_a_checkpointed_block_gives_the_same_gradients_under_dropout():
    grads = []
    for run in (lambda block, x: block(x), checkpoint):
        block = GPT(GPTConfig(**TINY, dropout=0.3), seed=1).h[0]
        x = Tensor(np.random.default_rng(0).normal(size=(2, 8, 12)).astype(np.float32), requires_grad=True)
        block.dropout_stream(3)
        run(block, x).sum().backward()
        grads.append([x.grad, *(p.grad for p in block.parameters())])
    assert all(np.array_equal(a, b) for a, b in zip(*grads, strict=True))


def test_the_summary_fits_a_terminal_and_adds_up():
    model = GPT(GPTConfig(vocab_size=50257, **GPT.PRESETS["small"]), seed=None)
    table = summarise(model, batch=1, context=1024)
    assert max(map(len, table.splitlines())) <= 80
    assert "124,439,808" in table.splitlines()[-1]
    rows = [re.split(r"\s{2,}", line) for line in table.splitlines()[2:-2]]
    assert sum(int(n.replace(",", "")) for n in re.findall(r"[\d,]\) +([\d,]+)", table)) == 124_439_808
    assert [row[0] for row in rows][:4] == ["wte", "wpe", "h.*.ln_1", "h.*.attn.c_attn"]
    assert rows[-1][0] == "lm_head"
    long = GPT(GPTConfig(**TINY), seed=None)
    long.a_name_that_is_much_longer_than_the_column = long.h
    assert max(map(len, summarise(long).splitlines())) <= 80


def test_flops_are_those_of_the_products_that_are_run():
    model, counted = tiny(), []

    def linear(x, w, b=None):
        counted.append(2 * x.size * w.shape[1])
        return ops.linear.reference(x, w, b)

    def attention(q, k, v, causal=True, lengths=None):
        B, T, H, D = q.shape
        counted.append(sum(2 * 2 * (t + 1) * D for _ in range(B) for _ in range(H) for t in range(T)))
        return ops.attention.reference(q, k, v, causal, lengths)

    with ops.override(linear=linear, attention=attention):
        model(np.zeros((3, 5), int))
    counted.append(2 * 3 * 5 * 12 * 11)  # the output layer
    assert sum(n for _, m in model.named_modules() for n in m.flops(3, 5).values()) == sum(counted)


@pytest.mark.parametrize("name", ["vocab_size", "context", "layers", "heads", "width"])
@pytest.mark.parametrize("size", [0, -3, 2.5, "8", None, True, 2**40])
def test_sizes_that_make_no_model_are_named(name, size):
    with pytest.raises(UserError, match=f"{name} must be a whole number, at least 1 and"):
        GPTConfig(**(TINY | {name: size}))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"heads": 5}, "5 heads cannot share a width of 12: make width a multiple of heads"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"dropout": -0.1}, "dropout must be"),
        ({"dropout": float("nan")}, "dropout must be"),
        ({"eps": 0.0}, "eps must be"),
    ],
)
def test_settings_that_make_no_model_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        GPTConfig(**(TINY | changes))
