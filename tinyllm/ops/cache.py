"""Compress the KV cache: to 8 bits, or to one short latent vector per token instead of its keys."""

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op(outputs=("q", "scales"), shapes="x (..., D)")
def pack_int8(x: Array) -> tuple[Array, Array]:
    """Round every row to whole numbers from -127 to 127, with one scale for the row.

    x (..., D) -> q (..., D) int8, scales (...) float32: scale = max |x| / 127, q = x / scale rounded to
    nearest, ties to even; a row of zeros has scale 0. A row with an infinity or NaN has scale NaN and q 0, so
    that results computed from it are NaN. float64 is first rounded to float32.
    """
    x = np.asarray(x, np.float32)
    largest = np.max(np.abs(x), axis=-1, initial=0)
    finite = np.isfinite(largest)
    scales = np.where(finite, largest, np.float32(0)) / np.float32(127)
    usable = (scales > 0)[..., None]
    q = np.where(usable, x, np.float32(0)) / np.where(usable, scales[..., None], np.float32(1))
    q = np.clip(np.rint(q), -127, 127).astype(np.int8)  # clipped: a subnormal scale is not exact
    return q, np.asarray(np.where(finite, scales, np.float32(np.nan)))


@op(outputs=("x",), shapes="q (..., D), scales (...)")
def unpack_int8(q: Array, scales: Array) -> Array:
    """Undo pack_int8: x = q * scale, which differs from the original numbers by at most half a scale.

    q (..., D) int8, scales (...) -> x (..., D) float32.
    """
    return q.astype(scales.dtype) * scales[..., None]


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
