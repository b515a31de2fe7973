"""Cases of quantised weights. What is rounded is exact; a product is off by the rounding of its outer sum."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.rng import Random
from tinyllm.testing.arrays import ANY_LAYOUT, arrange, floats, leading, recipes, sizes
from tinyllm.testing.bounds import EPS, TINY, largest
from tinyllm.testing.relations import run_spec

inner = st.sampled_from((32, 64, 2, 1, 3, 0, 31, 33, 63, 65, 96, 100, 130, 257))  # around blocks of 32
MIXED = (0.0, 1e-30, 1e-3, 1.0, 1e4, 1e30)  # sizes of whole blocks of inputs


@st.composite
def weights(draw):
    """A matrix of one kind of numbers."""
    return (floats(draw, (draw(inner), draw(sizes))),)


@st.composite
def numbers(draw):
    """Rows of one kind of numbers, or with blocks of very unequal sizes, zeros and infinities among them."""
    x = floats(draw, (*draw(leading), draw(inner)))
    if draw(st.booleans()) and x.size:
        x = np.array(x)
        rng = Random(draw(st.integers(0, 99)), "blocks")
        for start in range(0, x.shape[-1], 32):
            x[..., start : start + 32] *= np.float32(MIXED[rng.integers(len(MIXED))])
        if draw(st.booleans()):
            x.flat[draw(st.integers(0, x.size - 1))] = draw(st.sampled_from((np.inf, -np.inf, 3e38, 1e-45)))
    return (x,)


def packed(bits):
    """A layer's packed weights in any layout: -> (q, scales), its inputs and outputs."""

    @st.composite
    def draw_packed(draw):
        n_in, n_out = draw(inner), draw(sizes)
        kinds = ("normal", "wide", "small", "whole", "zero", "large")
        w = floats(draw, (n_in, n_out), kinds, ("plain",))
        layouts = tuple(layout for layout in ANY_LAYOUT if layout != "repeated row")
        q_layout, scales_layout, _ = draw(recipes(layouts, layouts))
        q, scales = run_spec(f"quantize_int{bits}", (w,))
        return arrange(q, q_layout), arrange(scales, scales_layout), n_in, n_out

    return draw_packed()


def layer(bits):
    """Inputs for packed weights, with and without a bias."""

    @st.composite
    def draw_layer(draw):
        q, scales, n_in, n_out = draw(packed(bits))
        b = floats(draw, (n_out,)) if draw(st.booleans()) else None
        return floats(draw, (*draw(leading), n_in)), q, scales, n_out, b

    return draw_layer()


def product_bound(bits):
    """A rounding for each block: of the rounded inputs times the rounded weights, all made positive."""

    def bound(args, results):
        x, q, scales, n_out, b = args
        xq, x_scales = run_spec("quantize_rows", (x,))
        n_in, padded = x.shape[-1], xq.shape[-2] * 32
        rounded = np.abs(xq * x_scales[..., None].astype(float)).reshape(*x.shape[:-1], padded)[..., :n_in]
        w = np.abs(run_spec(f"dequantize_int{bits}", (q, scales, n_in, n_out))).astype(float)
        size = rounded @ w + (0 if b is None else np.abs(b))
        return ((5 + xq.shape[-2]) * EPS * size + TINY * (1 + largest(x)),)

    return bound


CASES = {
    "quantize_int8": weights(),
    "quantize_int4": weights(),
    "dequantize_int8": packed(8),
    "dequantize_int4": packed(4),
    "quantize_rows": numbers(),
    "linear_int8": layer(8),
    "linear_int4": layer(4),
}
BOUNDS = {"linear_int8": product_bound(8), "linear_int4": product_bound(4)}
