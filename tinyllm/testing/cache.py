"""Provide test cases, common mistakes and correct variants for packing a KV cache."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import USUAL, cases, floats, ints, leading, sizes
from tinyllm.testing.bounds import BOUNDS, ulps
from tinyllm.testing.edits import mistake, variant

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
        "np.broadcast_to(np.max(np.abs(x), initial=0), x.shape[:-1])")
mistake("pack_int8", "halves rounded up, where ties go to the even number", "np.rint(q)", "np.floor(q + 0.5)")
mistake("unpack_int8", "the product in int8, which wraps around",
        "q.astype(scales.dtype) * scales[..., None]",
        "(q * scales[..., None].astype(np.int8)).astype(scales.dtype)")


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


@variant("unpack_int8")
def unpack_int8_by_einsum(q, scales):
    return np.einsum("...d,...->...d", q.astype(scales.dtype), scales)
