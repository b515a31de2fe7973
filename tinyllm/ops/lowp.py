"""Round numbers to low precision: bfloat16."""

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op
def round_bf16(x: Array) -> Array:
    """Round numbers to the nearest bfloat16 number.

    x (...) -> (...) of the same dtype. bfloat16 is the top half of a float32: its sign, exponent and first 7
    mantissa bits. Ties go to the even neighbour; too large numbers become infinite; NaN stays NaN. float64 is
    first rounded to float32. (Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", 2019.)
    """
    single = np.array(x, np.float32, order="C")  # a copy: its bits are changed below
    bits = single.view(np.uint32)
    last_kept = (bits >> 16) & 1
    # Adding just under half a unit, and the last kept bit, carries into the top half exactly to round up.
    rounded = (bits + 0x7FFF + last_kept) & 0xFFFF0000
    # A NaN could carry into infinity: keep its top half, and set a bit there so that it stays a NaN.
    bits[...] = np.where(np.isnan(single), (bits | 0x00400000) & 0xFFFF0000, rounded)
    return single.astype(x.dtype, copy=False)
