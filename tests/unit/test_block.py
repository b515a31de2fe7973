"""Compare the blocks that are ops with the modules, and the counts of a GPT-2 with the model's own."""

import re

import numpy as np
import pytest
from tiny_gpt import shaken

import tinyllm as tl
from tinyllm import ops
from tinyllm.models.deepseek_v3 import DeepseekV3Config, LatentAttention
from tinyllm.models.falcon import Falcon, FalconConfig
from tinyllm.nn.module import forward_flops
from tinyllm.report.summary import summarise


def pair(module):
    return [module.weight.data, module.bias.data]


def test_the_function_and_the_module_are_one():
    model = shaken(tl.GPT(tl.GPTConfig(vocab_size=5, context=9, layers=1, heads=3, width=24), seed=3), 0.1)
    block, x = model.h[0], tl.Random(5).normal((2, 9, 24)).astype(np.float32)
    parts = (block.ln_1, block.attn.c_attn, block.attn.c_proj, block.ln_2, block.mlp.c_fc, block.mlp.c_proj)
    got = ops.transformer_block(x, 3, *map(pair, parts))
    assert np.allclose(got, block(tl.Tensor(x)).data, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_llamas_function_and_module_are_one(kv_heads):
    sizes = {"vocab_size": 5, "context": 9, "layers": 1, "heads": 4, "width": 24, "hidden": 20}
    model = shaken(tl.Llama(tl.LlamaConfig(kv_heads=kv_heads, **sizes, theta=100.0), seed=3), 0.1)
    block, x = model.model.layers[0], tl.Random(5).normal((2, 9, 24)).astype(np.float32)
    a, m = block.self_attn, block.mlp
    attend = [layer.weight.data for layer in (a.q_proj, a.k_proj, a.v_proj, a.o_proj)]
    mlp = [layer.weight.data for layer in (m.gate_proj, m.up_proj, m.down_proj)]
    norms = block.input_layernorm.weight.data, block.post_attention_layernorm.weight.data
    got = ops.llama_block(x, 4, norms[0], attend, norms[1], mlp, 100.0)
    angles = model.model.rope(np.arange(9)[None].repeat(2, 0))
    assert np.allclose(got, block(tl.Tensor(x), angles).data, rtol=1e-5, atol=1e-5)


def test_falcons_function_and_module_are_one():
    """Falcon uses the exact gelu and the op the approximation, so override gelu in the module."""
    config = FalconConfig(vocab_size=5, context=9, layers=1, heads=4, width=24, hidden=20)
    model = shaken(Falcon(config, seed=3), 0.1)
    block, x = model.model.layers[0], tl.Random(5).normal((2, 9, 24)).astype(np.float32)
    widen = [block.self_attention.query_key_value.weight.data, block.mlp.dense_h_to_4h.weight.data]
    narrow = [block.self_attention.dense.weight.data, block.mlp.dense_4h_to_h.weight.data]
    got = ops.parallel_block(x, 4, pair(block.input_layernorm), np.hstack(widen), np.vstack(narrow))
    with tl.override(gelu=ops.gelu_tanh.reference):
        wanted = block(tl.Tensor(x), model.model.rope(np.arange(9)[None].repeat(2, 0))).data
    assert np.allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_latent_scores_are_those_of_the_layer():
    """Put all tokens at position 0, where rotation changes nothing: the rotary scores are a plain product."""
    config = DeepseekV3Config(vocab_size=5, context=9, layers=1, heads=3, kv_heads=3, width=24, hidden=20,
                              head_width=4, plain_width=6, value_width=5, latent=8)
    layer, x, T = shaken(LatentAttention(config)), tl.Random(5).normal((1, 7, 24)).astype(np.float32), 7
    got = layer(tl.Tensor(x), tl.nn.Rope(4)(np.zeros((1, T), np.int64))).data
    q = layer.q_proj(tl.Tensor(x)).data.reshape(T, 3, 6 + 4)
    joint = layer.kv_a_proj_with_mqa(tl.Tensor(x)).data[0]
    c = ops.rmsnorm(joint[:, :8], layer.kv_a_layernorm.weight.data, 1e-6)[0]
    w = layer.kv_b_proj.weight.data.reshape(8, 3, 6 + 5)
    plain = ops.latent_scores(q[..., :6], c, w[..., :6])[1] * 6**0.5
    scores = (plain + q[..., 6:] @ joint[:, 8:].T) / 10**0.5  # (T, H, N)
    scores = np.where(np.tri(T, dtype=bool)[:, None], scores, -np.inf).astype(np.float32)
    seen = ops.softmax(scores) @ c  # (T, H, L)
    values = np.einsum("thl,lhd->thd", seen, w[..., 6:]).reshape(T, -1)
    assert np.allclose(got[0], values @ layer.o_proj.weight.data, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", tl.GPT.PRESETS)
def test_the_counts_are_those_of_the_models(name):
    sizes = {key: tl.GPT.PRESETS[name][key] for key in ("context", "layers", "width")}
    config = tl.GPTConfig(vocab_size=65, **tl.GPT.PRESETS[name])
    model = tl.GPT(config, seed=None)
    count, table = ops.count_parameters(65, **sizes), summarise(model)
    assert count == sum(p.data.size for p in model.parameters())
    assert ops.count_flops(65, **sizes) == forward_flops(model, config.context)
    assert f"{count:,}" in table.splitlines()[-1]
    assert sum(int(n.replace(",", "")) for n in re.findall(r"[\d,]\) +([\d,]+)", table)) == count
