"""LLaMA: an independent forward pass, shared heads, the cache, and wrong sizes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.generate import stream
from tinyllm.models import Llama, LlamaConfig
from tinyllm.nn import summarise
from tinyllm.ops.registry import OPS

USED = ("linear", "attention", "rmsnorm", "swiglu", "rope", "embedding", "add")
BACKENDS = ["numpy"] + ["compiled"] * all(OPS[name].compiled for name in USED)  # else no bits are promised
TINY = {"vocab_size": 11, "context": 8, "layers": 2, "heads": 6, "kv_heads": 2, "width": 24, "hidden": 20}


def tiny(seed=0, std=0.4, dtype=np.float32, **changes):
    """A small model whose weights are large enough for every part of it to matter."""
    model = Llama(LlamaConfig(**(TINY | changes)), seed=None)
    rng = np.random.default_rng(seed)
    for p in model.parameters():
        p.data = (p.data + rng.normal(size=p.shape) * std).astype(dtype)
    return model


def plain_llama(w, tokens, config):
    """LLaMA's forward pass on a dict of weights, one sequence, heads in a loop: tokens (T,) -> (T, V)."""
    D, T = config.width // config.heads, len(tokens)

    def norm(x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + config.eps) * w[f"{name}.weight"]

    def turned(x):  # by complex numbers: channel i and i + D/2 are one
        angle = np.arange(T)[:, None] * config.theta ** (-2 * np.arange(D // 2) / D)
        z = (x[:, : D // 2] + 1j * x[:, D // 2 :]) * np.exp(1j * angle)
        return np.concatenate([z.real, z.imag], -1)

    x = w["model.embed_tokens.weight"][tokens]
    for i in range(config.layers):
        name = f"model.layers.{i}"
        h, out = norm(x, f"{name}.input_layernorm"), []
        q, k, v = (h @ w[f"{name}.self_attn.{part}_proj.weight"] for part in "qkv")
        for head in range(config.heads):
            mine = slice(head * D, (head + 1) * D)
            kv = head // (config.heads // config.kv_heads)
            shared = slice(kv * D, (kv + 1) * D)
            scores = turned(q[:, mine]) @ turned(k[:, shared]).T / np.sqrt(D)
            scores[np.triu_indices(T, 1)] = -np.inf
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            out.append(weights / weights.sum(-1, keepdims=True) @ v[:, shared])
        x = x + np.concatenate(out, -1) @ w[f"{name}.self_attn.o_proj.weight"]
        h = norm(x, f"{name}.post_attention_layernorm")
        gate, up = (h @ w[f"{name}.mlp.{part}_proj.weight"] for part in ("gate", "up"))
        x = x + (gate / (1 + np.exp(-gate)) * up) @ w[f"{name}.mlp.down_proj.weight"]
    return norm(x, "model.norm") @ w["lm_head.weight"].T


@given(st.lists(st.integers(0, 10), min_size=1, max_size=8), st.integers(0, 9))
def test_equals_an_independent_forward_pass(tokens, seed):
    model = tiny(seed)
    weights = {name: a.astype(np.float64) for name, a in model.state_dict().items()}
    expected = plain_llama(weights, np.array(tokens), model.config)
    logits = model(tokens)
    assert logits.shape == (1, len(tokens), 11) and logits.dtype == np.float32
    np.testing.assert_allclose(logits.data[0], expected, rtol=1e-3, atol=2e-3)
    with ops.use("numpy"):  # the tables stay float32
        exact = tiny(seed, dtype=np.float64)(tokens).data[0]
    np.testing.assert_allclose(exact, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=3), st.sampled_from([None, 1, 3]), st.integers(0, 9))
def test_a_prompt_goes_on_the_same_way_in_any_batch_and_without_cache(backend, lengths, chunk, seed):
    model, rng = tiny(seed), np.random.default_rng(seed)
    prompts = [rng.integers(0, 11, n).tolist() for n in lengths]
    options = {"max_tokens": 6, "seed": 1}
    with ops.use(backend):
        together = list(stream(model, prompts, prefill_chunk=chunk, **options))
        slow = list(stream(model, prompts, use_cache=False, **options))
    assert [s.token for s in together] == [s.token for s in slow]
    for a, b in zip(together, slow, strict=True):
        if backend == "compiled":
            assert np.array_equal(a.logits, b.logits)
        np.testing.assert_allclose(a.logits, b.logits, rtol=1e-3, atol=1e-3)


def test_the_preset_has_its_size_and_flops_are_counted():
    model = Llama(LlamaConfig(**Llama.PRESETS["llama-110m"]), seed=None)
    assert model.num_parameters() == 2 * 32000 * 768 + 12 * (4 * 768**2 + 3 * 768 * 2048 + 2 * 768) + 768
    matrices = model.num_parameters() - 32000 * 768 - 25 * 768
    flops = sum(n for _, m in model.named_modules() for n in m.flops(1, 10).values())
    assert flops == 2 * 10 * matrices + 12 * 4 * 55 * 768
    assert "lm_head" in summarise(model, batch=1, context=10)
    cache = tiny().new_cache(3)
    assert len(cache) == 2 and cache[0].keys.shape == (3, 8, 2, 4)  # only the kv heads


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"heads": 5}, "5 heads cannot share a width of 24"),
        ({"heads": 8, "kv_heads": 8}, "even multiple"),  # rope turns pairs
        ({"kv_heads": 4}, "make heads a multiple of kv_heads"),
        ({"hidden": 0}, "hidden must be a whole number, at least 1 and"),
        ({"kv_heads": 1.0}, "kv_heads must be a whole number"),
        ({"eps": 0.0}, "eps must be"),
        ({"theta": float("nan")}, "theta must be"),
        ({"theta": "10000"}, "theta must be"),
    ],
)
def test_sizes_that_make_no_model_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        LlamaConfig(**(TINY | changes))
