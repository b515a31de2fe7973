"""Scores against a latent cache: one short vector for each token, from which the keys of all heads follow."""

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op(outputs=("short", "scores"), shapes="q (..., H, D), c (N, L), w (L, H, D)")
def latent_scores(q: Array, c: Array, w: Array) -> tuple[Array, Array]:
    """Score queries against latent vectors without making their keys: w is moved to the queries' side.

    q (..., H, D), c (N, L), w (L, H, D) -> short (..., H, L), scores (..., H, N). The key of vector n for
    head h would be c_n @ w[:, h]. short is what q becomes so that its product with c_n is that of q with the
    key. Only scores are divided by sqrt(D), D being the width of the keys. (DeepSeek-AI, "DeepSeek-V2", 2024,
    section 2.1.2.)
    """
    short = np.einsum("...hd,lhd->...hl", q, w)
    return short, short @ c.T / q.shape[-1] ** 0.5
