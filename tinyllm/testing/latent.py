"""Provide test cases, common mistakes and correct variants for attention scores of compressed keys."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import MODEST, axis, cases, floats, leading
from tinyllm.testing.bounds import BOUNDS, of_sizes
from tinyllm.testing.edits import mistake, variant


@cases("latent_scores")
def latent_scores(draw):
    """Draw queries with a few heads, up to five latent vectors, and the matrix that turns these into keys."""
    H, D = draw(st.sampled_from((2, 1, 3))), draw(st.sampled_from((4, 2, 1, 8)))
    L, N = draw(st.sampled_from((6, 4, 1, 8, 2))), draw(axis(3, 1, 5, 0))
    return (floats(draw, (*draw(leading), H, D), MODEST), floats(draw, (N, L), MODEST),
            floats(draw, (L, H, D), MODEST))


BOUNDS["latent_scores"] = of_sizes("latent_scores", lambda q, c, **_: 4 + q.shape[-1] + c.shape[-1])

SHORT = 'np.einsum("...hd,lhd->...hl", q, w)'
mistake("latent_scores", "short divided by sqrt(D); only scores are", SHORT, f"{SHORT} / q.shape[-1] ** 0.5",
        "short @ c.T / q.shape[-1] ** 0.5", "short @ c.T")
mistake("latent_scores", "outputs of w cut into heads as (D, H), where (H, D) belongs", SHORT,
        SHORT.replace(", w)", ", w.reshape(len(w), w.shape[2], w.shape[1]).swapaxes(1, 2))"))
mistake("latent_scores", "w reshaped to (D, H, L), where its axes have to be exchanged", SHORT,
        'np.einsum("...hd,dhl->...hl", q, w.reshape(w.shape[::-1]))')
mistake("latent_scores", "queries in which all heads are added up", SHORT,
        SHORT.replace(", q, w)", ", np.broadcast_to(q.sum(axis=-2, keepdims=True), q.shape), w)"))


@variant("latent_scores")
def latent_scores_by_heads(q, c, w):
    short = np.stack([q[..., h, :] @ w[:, h].T for h in range(w.shape[1])], axis=-2)
    return short, np.einsum("...hl,nl->...hn", short, c) / np.sqrt(np.float32(q.shape[-1]))


@variant("latent_scores")
def latent_scores_with_keys(q, c, w):
    keys = np.einsum("nl,lhd->nhd", c, w)  # what a cache of usual keys would hold
    scores = np.einsum("...hd,nhd->...hn", q, keys) / np.sqrt(np.float32(q.shape[-1]))
    return np.einsum("...hd,lhd->...hl", q, w), scores
