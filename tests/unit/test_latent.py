"""Compare the op for scores against latent vectors with DeepSeek's layer."""

import numpy as np

from tinyllm import ops
from tinyllm.models.deepseek_v3 import DeepseekV3Config, LatentAttention
from tinyllm.nn import Rope
from tinyllm.rng import Random
from tinyllm.tensor import Tensor


def test_the_op_and_the_layer_are_one():
    """At position 0 nothing is turned, so that the layer's rotated channels are a plain product."""
    config = DeepseekV3Config(vocab_size=5, context=9, layers=1, heads=3, kv_heads=3, width=24, hidden=20,
                              head_width=4, plain_width=6, value_width=5, latent=8)
    layer = LatentAttention(config)
    for name, p in layer.named_parameters():
        p.data = (0.3 * Random(4, name).normal(p.shape)).astype(np.float32)
    x, T = Random(5).normal((1, 7, 24)).astype(np.float32), 7
    got = layer(Tensor(x), Rope(4)(np.zeros((1, T), np.int64))).data

    q = layer.queries(Tensor(x)).data[0]  # (T, H, 6 + 4)
    joint = layer.kv_a_proj_with_mqa(Tensor(x)).data[0]
    c = ops.rmsnorm(joint[:, :8], layer.kv_a_layernorm.weight.data, 1e-6)[0]
    w = layer.kv_b_proj.weight.data.reshape(8, 3, 6 + 5)
    plain = ops.latent_scores(q[..., :6], c, w[..., :6])[1] * 6**0.5
    scores = (plain + q[..., 6:] @ joint[:, 8:].T) / 10**0.5  # (T, H, N)
    scores = np.where(np.tri(T, dtype=bool)[:, None], scores, -np.inf).astype(np.float32)
    seen = ops.softmax(scores) @ c  # (T, H, L)
    values = np.einsum("thl,lhd->thd", seen, w[..., 6:]).reshape(T, -1)
    assert np.allclose(got[0], values @ layer.o_proj.weight.data, rtol=1e-4, atol=1e-5)
