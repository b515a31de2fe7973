"""Provide test cases, common mistakes and correct variants for compressed KV caches."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import CASES, MODEST, USUAL, axis, cases, floats, ints, leading, sizes
from tinyllm.testing.bounds import BOUNDS, of_sizes, ulps
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.relations import declared_cases

SPREAD = tuple(kind for kind in USUAL if kind != "zero")


@cases("pack_int8")
def pack_int8(draw):
    """Draw rows to pack: usual numbers, multiples of 1/2 that tie in rounding, or one infinity or NaN."""
    shape = *draw(leading), draw(sizes)
    kind = draw(st.sampled_from(("usual", "usual", "halves", "broken")))
    if kind == "halves":
        x = ((ints(draw, shape, 509) - 254) / 2).astype(np.float32)
        x[..., :1] = 127
        return (x,)
    x = floats(draw, shape, USUAL)
    if kind == "broken" and x.size:
        x = np.array(x)
        x.flat[draw(st.integers(0, x.size - 1))] = draw(st.sampled_from((np.inf, -np.inf, np.nan)))
    return (x,)


@cases("unpack_int8")
def unpack_int8(draw):
    """Draw packed numbers and a scale for each row; the last scale may be NaN."""
    lead, width = draw(leading), draw(sizes)
    q = (ints(draw, (*lead, width), 255) - 127).astype(np.int8)
    scales = floats(draw, lead, SPREAD)
    if scales.size and draw(st.booleans()):
        scales = np.array(scales)
        scales.flat[-1] = np.nan
    return q, scales


BOUNDS["unpack_int8"] = ulps(1)

mistake("pack_int8", "one scale for all rows: a large row takes the digits of the others",
        "np.max(np.abs(x), axis=-1, initial=0)",
        "np.max(np.abs(x), axis=-1, initial=0) * 0 + np.max(np.abs(x), where=np.isfinite(x), initial=0)")
mistake("pack_int8", "halves rounded up, where ties go to the even number", "np.rint(q)", "np.floor(q + 0.5)")
mistake("pack_int8", "a row of zeros with another scale than 0",
        "np.where(finite, scales, np.float32(np.nan))",
        "np.where(finite, np.where(scales == 0, np.float32(1), scales), np.float32(np.nan))")
mistake("unpack_int8", "the product in int8, which wraps around",
        "q.astype(scales.dtype) * scales[..., None]",
        "(q * scales[..., None].astype(np.int8)).astype(scales.dtype)")
mistake("unpack_int8", "q divided by 127 too, which is in the scale already", "q.astype(scales.dtype)",
        "q.astype(scales.dtype) / 127")


@variant("pack_int8")
def pack_int8_by_rows(x):
    q, scales = np.zeros(x.shape, np.int8), np.zeros(x.shape[:-1], np.float32)
    for i in np.ndindex(scales.shape):
        row = np.asarray(x[i], np.float32)
        scales[i] = scale = np.abs(row).max(initial=0) / np.float32(127)
        if not np.isfinite(scale):
            scales[i] = np.nan
        elif scale > 0:
            q[i] = np.clip(np.round(row / scale), -127, 127)
    return q, scales


variant("unpack_int8")(lambda q, scales: np.einsum("...d,...->...d", q.astype(scales.dtype), scales))


WIDTHS = {"H": axis(2, 1, 3), "D": axis(4, 2, 1, 8), "L": axis(6, 4, 1, 8, 2), "N": axis(3, 1, 5, 0)}
CASES["latent_scores"] = declared_cases("latent_scores", WIDTHS, q=MODEST, c=MODEST, w=MODEST)
BOUNDS["latent_scores"] = of_sizes("latent_scores", lambda q, c, **_: 4 + q.shape[-1] + c.shape[-1])

SHORT = 'np.einsum("...hd,lhd->...hl", q, w)'
mistake("latent_scores", "outputs of w cut into heads as (D, H), where (H, D) belongs", SHORT,
        SHORT.replace(", w)", ", w.reshape(len(w), w.shape[2], w.shape[1]).swapaxes(1, 2))"))
mistake("latent_scores", "w reshaped to (D, H, L), where its axes have to be exchanged", SHORT,
        'np.einsum("...hd,dhl->...hl", q, w.reshape(w.shape[::-1]))')


@variant("latent_scores")
def latent_scores_by_heads(q, c, w):
    short = np.stack([q[..., h, :] @ w[:, h].T for h in range(w.shape[1])], axis=-2)
    return short, np.einsum("...hl,nl->...hn", short, c) / np.sqrt(np.float32(q.shape[-1]))
