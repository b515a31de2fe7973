"""Compute attention scores from a latent cache, which has one short vector per token instead of keys."""

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op(outputs=("short", "scores"), shapes="q (..., H, D), c (N, L), w (L, H, D)")
def latent_scores(q: Array, c: Array, w: Array) -> tuple[Array, Array]:
    """Compute scores without making keys from latent vectors: multiply the queries by w instead.

    q (..., H, D), c (N, L), w (L, H, D) -> short (..., H, L), scores (..., H, N). The key of vector n for
    head h would be c_n @ w[:, h]. short is the query times w: its product with c_n equals the product of q
    and that key. Only scores are divided by sqrt(D), where D is the width of the keys. (DeepSeek-AI,
    "DeepSeek-V2", 2024, section 2.1.2.)
    """
    short = np.einsum("...hd,lhd->...hl", q, w)
    return short, short @ c.T / q.shape[-1] ** 0.5
