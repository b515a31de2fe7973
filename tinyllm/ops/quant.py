"""Quantise weights to 8 or 4 bits, with one scale for every 32 weights.

Reading weights from memory limits the speed of decoding, so smaller weights make decoding faster.

A weight matrix w (I, O) is cut into blocks of 32 inputs of one output. Each block is stored as whole numbers
q and one scale, and its weights are `scale * q`. The scale is a bfloat16, the upper half of a float32, stored
as uint16.

In 8 bits, q is -127..127 and the scale is rounded up, so that the largest weight still fits: the error is at
most half a scale. In 4 bits, q is -8..7, and a scale may be negative, so that the largest weight m can be
stored as -8 or 7, whatever its sign: the scale is -m / 8 (as in ggml's Q4_0) or m / 7, whichever has the
smaller sum of squared errors. Scales between and beyond them would make this sum smaller, but m less exact,
and a model's loss larger: where weights are large, their inputs often are too.

The numbers lie in memory in the order in which a product reads them: 16 outputs at a time, block after
block, and in a block 4 inputs of all 16 outputs side by side, which is what one instruction multiplies
(`vpdpbusd`). With G = ceil(O / 16) and N = ceil(I / 32), and zeros where O and I end:

    8 bits: q (G, N, 8, 16, 4) int8,  q[g, n, j, o, i] belongs to w[32 n + 4 j + i, 16 g + o]
    4 bits: q (G, N, 4, 16, 4) uint8, a byte holds q + 8 for j in its lower four bits, and for j + 4 in its
            upper ones
    scales (G, N, 16) uint16

The inputs of a product are rounded to 8 bits too, row by row and block by block (`quantize_rows`). A block's
products are then whole numbers below 2^24, so their sum is exact in any order.
"""

from collections.abc import Callable
from functools import cache

import numpy as np

from tinyllm.ops.cache import pack_int8
from tinyllm.ops.lowp import round_bf16
from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array, linear_flops, rows

BLOCK, OUTPUTS = 32, 16
LIMIT = 2.0**127  # from here on, rounding could carry a weight beyond float32


def ceil_div(a: int, b: int) -> int:
    """Divide a by b and round up."""
    return -(-a // b)


@cache
def packed_shapes(bits: int, n_in: int, n_out: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of q and scales for packed weights (n_in, n_out)."""
    groups, blocks = ceil_div(n_out, OUTPUTS), ceil_div(n_in, BLOCK)
    return (groups, blocks, bits, OUTPUTS, 4), (groups, blocks, OUTPUTS)


def check_layer(bits: int) -> Callable[..., None]:
    """Return the function that checks the arguments of linear_int8 (bits = 8) or linear_int4 (bits = 4)."""
    kind, half = np.dtype(np.int8 if bits == 8 else np.uint8), np.dtype(np.uint16)

    def check(x, q, scales, n_out, b=None):
        if x.ndim < 1:
            raise ValueError(f"needs x (..., I), got shape {x.shape}")
        fit = n_out >= 0 and (q.shape, scales.shape) == packed_shapes(bits, x.shape[-1], n_out)
        if not fit or q.dtype != kind or scales.dtype != half:
            found = f"q {q.dtype} {q.shape} and scales {scales.dtype} {scales.shape}"
            raise ValueError(f"needs weights ({x.shape[-1]}, {n_out}) of quantize_int{bits}, got {found}")
        if b is not None and b.shape != (n_out,):
            raise ValueError(f"needs a bias of shape {(n_out,)}, got {b.shape}")

    return check


def bfloat16_up(x: Array) -> Array:
    """Round float32 numbers >= 0 up to bfloat16, returned as uint16 (the upper halves of float32)."""
    return ((x.view(np.uint32) + np.uint32(0xFFFF)) >> np.uint32(16)).astype(np.uint16)


def bfloat16(x: Array) -> Array:
    """Round finite float32 numbers to bfloat16, ties to even, returned as uint16."""
    return (round_bf16(x).view(np.uint32) >> np.uint32(16)).astype(np.uint16)


def from_bfloat16(halves: Array) -> Array:
    """Convert bfloat16 numbers, given as uint16, to float32."""
    return (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)


def interleave(blocks: Array) -> Array:
    """Reorder quantised weights so that the kernel reads them in sequence: 16 outputs x 4 inputs at a time.

    (N, 32, 16 G) -> (G, N, 8, 16, 4).
    """
    n, _, width = blocks.shape
    return np.ascontiguousarray(blocks.reshape(n, 8, 4, width // OUTPUTS, OUTPUTS).transpose(3, 0, 1, 4, 2))


def unpack(bits: int, q: Array) -> Array:
    """Unpack weights of 8 or 4 bits into whole numbers -> (N, 32, 16 G) int8, undoing `interleave`."""
    if bits == 4:
        q = np.concatenate([q & np.uint8(15), q >> np.uint8(4)], axis=2).astype(np.int8) - np.int8(8)
    return q.transpose(1, 2, 4, 0, 3).reshape(q.shape[1], BLOCK, len(q) * OUTPUTS)


def spread(scales: Array) -> Array:
    """Convert scales to float32, with one row for each block of inputs: (G, N, 16) -> (N, 16 G)."""
    return from_bfloat16(scales).transpose(1, 0, 2).reshape(scales.shape[1], len(scales) * OUTPUTS)


def dequantize(bits: int, q: Array, scales: Array, n_in: int, n_out: int) -> Array:
    """Compute weights = scale * q from packed weights, exactly -> float32 (n_in, n_out)."""
    w = unpack(bits, q) * spread(scales)[:, None]
    return w.reshape(len(w) * BLOCK, w.shape[2])[:n_in, :n_out]


def cut(name: str, w: Array) -> Array:
    """Cut weights (I, O) into blocks (N, 32, 16 G), filled up with zeros."""
    if not np.all(np.abs(w) < LIMIT):  # false for NaN too
        raise ValueError(f"{name} needs finite weights below 2^127: these are broken")
    groups, n = ceil_div(w.shape[1], OUTPUTS), ceil_div(w.shape[0], BLOCK)
    blocks: Array = np.zeros((n * BLOCK, groups * OUTPUTS), np.float32)
    blocks[: w.shape[0], : w.shape[1]] = w
    return blocks.reshape(n, BLOCK, groups * OUTPUTS)


def rounded(blocks: Array, scale: Array, low: int, high: int) -> Array:
    """Divide blocks (N, 32, 16 G) by scales (N, 16 G), and round to whole numbers low..high, ties to even."""
    return np.clip(np.rint(blocks / np.where(scale == 0, np.float32(1), scale)[:, None]), low, high)


def squared_error(blocks: Array, scale: Array) -> Array:
    """Sum the squared 4-bit errors of each block, relative to its largest weight: (N, 32, O) -> (N, O)."""
    largest = np.max(np.abs(blocks), axis=1)
    unit = np.where(largest == 0, np.float32(1), largest)
    errors = (blocks - rounded(blocks, scale, -8, 7) * scale[:, None]) / unit[:, None]
    total = np.zeros_like(scale)
    for i in range(BLOCK):
        total += errors[:, i] * errors[:, i]
    return total


def ordered(halves: Array) -> Array:
    """Reorder scales into the memory order of a product: (N, 16 G) -> (G, N, 16)."""
    n, width = halves.shape
    return np.ascontiguousarray(halves.reshape(n, width // OUTPUTS, OUTPUTS).transpose(1, 0, 2))


def linear_quantized(bits: int, x: Array, q: Array, scales: Array, n_out: int, b: Array | None) -> Array:
    """Compute y = x W + b with rounded x and W: sum each block's dot product times both scales."""
    xq, x_scales = quantize_rows(rows(x))
    wq, w_scales = unpack(bits, q), spread(scales)
    y = np.zeros((len(xq), wq.shape[2]), x.dtype)
    for n in range(len(wq)):
        dots = xq[:, n].astype(np.float32) @ wq[n].astype(np.float32)  # whole numbers below 2^24: exact
        y += (x_scales[:, n, None].astype(x.dtype) * w_scales[n].astype(x.dtype)) * dots
    y = y[:, :n_out].reshape(*x.shape[:-1], n_out)
    return np.ascontiguousarray(y) if b is None else y + b


@op(outputs=("q", "scales"), shapes="w (I, O)")
def quantize_int8(w: Array) -> tuple[Array, Array]:
    """Round weights to 8 bits, with one scale for every 32 inputs of each output.

    w (I, O) -> q (G, N, 8, 16, 4) int8, scales (G, N, 16) uint16, in the order shown at the top of this file:
    scale = max |w| / 127, rounded up to a bfloat16; q = w / scale, rounded to nearest, ties to even. A block
    of zeros has scale 0. float64 is first rounded to float32. Raises ValueError unless all weights are
    finite, with absolute values below 2^127.
    """
    blocks = cut("quantize_int8", w)
    halves = bfloat16_up(np.max(np.abs(blocks), axis=1) / np.float32(127))
    q = rounded(blocks, from_bfloat16(halves), -127, 127)
    return interleave(q.astype(np.int8)), ordered(halves)


@op(outputs=("q", "scales"), shapes="w (I, O)")
def quantize_int4(w: Array) -> tuple[Array, Array]:
    """Round weights to 4 bits, with one scale for every 32 inputs of each output.

    w (I, O) -> q (G, N, 4, 16, 4) uint8, two numbers in each, scales (G, N, 16) uint16. m is the weight with
    the largest |m| in a block (if m and -m both occur, the positive one). scale = -m / 8 or m / 7, rounded
    to a bfloat16: the first, unless the second has the smaller squared error. q = w / scale, rounded to
    nearest, ties to even, and limited to -8..7. The rest is the same as in quantize_int8.
    """
    blocks = cut("quantize_int4", w)
    high, low = np.max(blocks, axis=1), np.min(blocks, axis=1)
    m = np.where(high >= -low, high, low)
    first, second = (from_bfloat16(bfloat16((0 - m) / np.float32(end))) for end in (8, -7))
    scale = np.where(squared_error(blocks, second) < squared_error(blocks, first), second, first)
    halves = (interleave(rounded(blocks, scale, -8, 7).astype(np.int8)) + np.int8(8)).astype(np.uint8)
    packed = halves[:, :, :4] | halves[:, :, 4:] << np.uint8(4)
    return packed, ordered(bfloat16(scale))


@op(outputs=("q", "scales"), shapes="x (..., I)")
def quantize_rows(x: Array) -> tuple[Array, Array]:
    """Round the inputs of a product to 8 bits, with one scale for each block of 32 inputs in a row.

    x (..., I) -> q (..., N, 32) int8, scales (..., N) float32, by pack_int8. The last block ends with zeros.
    """
    n = ceil_div(x.shape[-1], BLOCK)
    blocks = np.zeros((*x.shape[:-1], n * BLOCK), np.float32)
    blocks[..., : x.shape[-1]] = x
    return pack_int8(blocks.reshape(*x.shape[:-1], n, BLOCK))


@op(check=check_layer(8), flops=linear_flops)
def linear_int8(x: Array, q: Array, scales: Array, n_out: int, b: Array | None = None) -> Array:
    """Apply a layer of 8-bit weights to every row: y = x W + b, with x rounded to 8 bits too.

    x (..., I), q and scales from quantize_int8, n_out = O, b (O,) or None -> (..., O). Raises ValueError when
    the sizes do not fit.
    """
    return linear_quantized(8, x, q, scales, n_out, b)


@op(check=check_layer(4), flops=linear_flops)
def linear_int4(x: Array, q: Array, scales: Array, n_out: int, b: Array | None = None) -> Array:
    """Apply a layer of 4-bit weights to every row: y = x W + b, with x rounded to 8 bits.

    x (..., I), q and scales from quantize_int4, n_out = O, b (O,) or None -> (..., O). Raises ValueError when
    the sizes do not fit.
    """
    return linear_quantized(4, x, q, scales, n_out, b)
