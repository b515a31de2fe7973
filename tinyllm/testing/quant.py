"""Test quantised weights: packed numbers must be exact, products may differ by float32 rounding."""

import functools

import numpy as np
from hypothesis import strategies as st

from tinyllm.ops.quant import dequantize
from tinyllm.rng import Random
from tinyllm.testing.arrays import ANY_LAYOUT, CASES, arrange, axis, cases, floats, leading, recipes, sizes
from tinyllm.testing.bounds import BOUNDS, EPS, TINY, largest
from tinyllm.testing.edits import mistake
from tinyllm.testing.relations import declared_cases, run_spec

inner = axis(32, 64, 2, 1, 3, 0, 31, 33, 63, 65, 96, 100, 130, 257)  # near multiples of 32, the block size
MIXED = (0.0, 1e-30, 1e-3, 1.0, 1e4, 1e30)  # each block of inputs is multiplied by one of these


CASES |= {name: declared_cases(name, {"I": inner}) for name in ("quantize_int8", "quantize_int4")}


@cases("quantize_rows")
def numbers(draw):
    """Draw rows of numbers; blocks of 32 may differ much in size, and one number may be infinite or huge."""
    x = floats(draw, (*draw(leading), draw(inner)))
    if draw(st.booleans()) and x.size:
        x = np.array(x)
        rng = Random(draw(st.integers(0, 99)), "blocks")
        for start in range(0, x.shape[-1], 32):
            x[..., start : start + 32] *= np.float32(MIXED[rng.integers(len(MIXED))])
        if draw(st.booleans()):
            x.flat[draw(st.integers(0, x.size - 1))] = draw(st.sampled_from((np.inf, -np.inf, 3e38, 1e-45)))
    return (x,)


@st.composite
def layer(draw, bits):
    """Draw the arguments of a product with quantised weights; the bias may be None."""
    n_in, n_out = draw(inner), draw(sizes)
    kinds = ("normal", "wide", "small", "whole", "zero", "large")
    w = floats(draw, (n_in, n_out), kinds, ("plain",))
    layouts = tuple(layout for layout in ANY_LAYOUT if layout != "repeated row")
    q_layout, scales_layout, _ = draw(recipes(layouts, layouts))
    q, scales = run_spec(f"quantize_int{bits}", (w,))
    b = floats(draw, (n_out,)) if draw(st.booleans()) else None
    x = floats(draw, (*draw(leading), n_in))
    return x, arrange(q, q_layout), arrange(scales, scales_layout), n_out, b


def product_bound(bits, args, results):
    """Bound the errors of products with quantised weights by (5 + number of blocks) * 2^-23 * |x| |w|."""
    x, q, scales, n_out, b = args
    xq, x_scales = run_spec("quantize_rows", (x,))
    n_in, padded = x.shape[-1], xq.shape[-2] * 32
    rounded = np.abs(xq * x_scales[..., None].astype(float)).reshape(*x.shape[:-1], padded)[..., :n_in]
    w = np.abs(dequantize(bits, q, scales, n_in, n_out)).astype(float)
    size = rounded @ w + (0 if b is None else np.abs(b))
    return ((5 + xq.shape[-2]) * EPS * size + TINY * (1 + largest(x)),)


for width in (8, 4):
    CASES[f"linear_int{width}"] = layer(width)
    BOUNDS[f"linear_int{width}"] = functools.partial(product_bound, width)

BLOCK_SIZES = "np.max(np.abs(x), axis=-1, initial=0)"
PAIRED = ("np.einsum('mpi,pio->mpo', xq[:, n].reshape(len(xq), 16, 2).astype(int),"
          " (wq[n].astype(int) + 128).reshape(16, 2, wq.shape[2]))")

mistake("quantize_rows", "one scale for a row, not one for each block of 32", BLOCK_SIZES,
        "np.broadcast_to(np.max(np.abs(x), axis=(-2, -1), initial=0)[..., None], x.shape[:-1])")
mistake("quantize_rows", "a block of zeros divided by its scale of 0, which is NaN",
        "np.where(finite, scales, np.float32(np.nan))",
        "np.where(finite & (scales > 0), scales, np.float32(np.nan))")
mistake("linear_int8", "sums of two products that stop at 32,767, as those of vpmaddubsw do",
        "xq[:, n].astype(np.float32) @ wq[n].astype(np.float32)",
        f"np.clip({PAIRED}, -32768, 32767).sum(axis=1) - 128 * xq[:, n].astype(int).sum(axis=1)[:, None]")
mistake("linear_int8", "bfloat16 scales read as float16",
        "(halves.astype(np.uint32) << np.uint32(16)).view(np.float32)",
        "np.ascontiguousarray(halves).view(np.float16).astype(np.float32)")
