"""Mistakes in quantised weights."""

import numpy as np

from tinyllm.ops import dequantize_int4, dequantize_int8, linear, quantize_int4, quantize_int8, quantize_rows
from tinyllm.ops.quant import bfloat16_up, from_bfloat16, interleave, rows, separate, spread
from tinyllm.testing.mistake import mistake

NIBBLE = np.uint8(4)


def scales_of(w, largest, size=np.abs):
    """Blocks (N, 32, 16 G) of padded weights, and their float32 scales (N, 1, 16 G)."""
    groups, n = -(-w.shape[1] // 16), -(-w.shape[0] // 32)
    blocks = np.zeros((n * 32, groups * 16), np.float32)
    blocks[: w.shape[0], : w.shape[1]] = w
    blocks = blocks.reshape(n, 32, groups * 16)
    return blocks, from_bfloat16(bfloat16_up(size(blocks).max(axis=1) / np.float32(largest)))[:, None]


def whole(x, scale, rounding=np.rint):
    """Whole numbers of x, 0 where the scale is."""
    return rounding(x / np.where(scale == 0, np.float32(1), scale))


@mistake("quantize_int8", "weights cut off towards zero, not rounded to the nearest")
def truncates_8(w):
    blocks, scale = scales_of(w, 127)
    return interleave(whole(blocks, scale, np.trunc).astype(np.int8)), quantize_int8(w)[1]


@mistake("quantize_int8", "one scale for all weights, so that one outlier costs every block its digits")
def one_scale_8(w):
    blocks, scale = scales_of(w, 127)
    scale = np.broadcast_to(scale.max(initial=0), scale.shape)
    halves = bfloat16_up(np.ascontiguousarray(scale)).reshape(len(blocks), -1, 16).transpose(1, 0, 2)
    return interleave(whole(blocks, scale).astype(np.int8)), np.ascontiguousarray(halves)


@mistake("quantize_int8", "blocks along the outputs, where a product sums over the inputs")
def turned_8(w):
    return quantize_int8(np.ascontiguousarray(w.T))


@mistake("quantize_int8", "the scale from the largest weight, where the smallest may be larger in size")
def forgets_negative_8(w):
    blocks, scale = scales_of(w, 127, size=lambda x: np.maximum(x, 0))
    halves = bfloat16_up(np.ascontiguousarray(scale)).reshape(len(blocks), -1, 16).transpose(1, 0, 2)
    q = np.clip(whole(blocks, scale), -127, 127).astype(np.int8)
    return interleave(q), np.ascontiguousarray(halves)


@mistake("quantize_int4", "the two numbers of a byte exchanged")
def exchanges_4(w):
    q, scales = quantize_int4(w)
    return q << NIBBLE | q >> NIBBLE, scales


@mistake("quantize_int4", "negative numbers kept as they are, where 8 is to be added")
def without_offset_4(w):
    q, scales = quantize_int4(w)
    return q ^ np.uint8(0x88), scales


@mistake("quantize_int4", "two neighbours in a byte, where the numbers of one byte lie 16 inputs apart")
def pairs_neighbours_4(w):
    q, scales = quantize_int4(w)
    low, high = q & np.uint8(15), q >> NIBBLE
    pair = np.stack([low, high], axis=2).reshape(*q.shape[:2], 8, 16, 4)
    return pair[:, :, 0::2] | pair[:, :, 1::2] << NIBBLE, scales


@mistake("quantize_int4", "the scale of 8 bits, max |w| / 127")
def scale_of_8_bits(w):
    q, _ = quantize_int4(w)
    return q, quantize_int8(w)[1]


@mistake("dequantize_int8", "numbers without their scales")
def without_scale_8(q, scales, n_in, n_out):
    return dequantize_int8(q, np.full_like(scales, 0x3F80), n_in, n_out)


@mistake("dequantize_int8", "the order in memory taken for that of the matrix")
def in_memory_order_8(q, scales, n_in, n_out):
    groups, n = q.shape[:2]
    w = q.reshape(n * 32, groups * 16) * np.repeat(spread(scales), 32, axis=0)
    return w[:n_in, :n_out].copy()


@mistake("dequantize_int8", "bfloat16 scales read as float16")
def scale_is_float16(q, scales, n_in, n_out):
    wide = np.ascontiguousarray(scales).view(np.float16).astype(np.float32).transpose(1, 0, 2)
    w = separate(q).astype(np.float32) * wide.reshape(len(wide), 1, q.shape[0] * 16)
    return w.reshape(len(w) * 32, w.shape[2])[:n_in, :n_out].copy()


@mistake("dequantize_int4", "weights without taking the 8 away that was added")
def keeps_offset_4(q, scales, n_in, n_out):
    eight = dequantize_int4(np.full_like(q, 0x99), scales, n_in, n_out) * np.float32(8)
    return dequantize_int4(q, scales, n_in, n_out) + eight


@mistake("dequantize_int4", "the two numbers of a byte exchanged")
def exchanges_back_4(q, scales, n_in, n_out):
    return dequantize_int4(q << NIBBLE | q >> NIBBLE, scales, n_in, n_out)


@mistake("dequantize_int4", "only the lower number of each byte")
def lower_half_4(q, scales, n_in, n_out):
    return dequantize_int4(q & np.uint8(15) | np.uint8(0x80), scales, n_in, n_out)


@mistake("quantize_rows", "one scale for a row, not one for each block of 32")
def one_scale_rows(x):
    q, scales = quantize_rows(x)
    values = q * scales[..., None]
    most = np.broadcast_to(scales.max(axis=-1, keepdims=True, initial=0), scales.shape)
    return np.clip(np.nan_to_num(whole(values, most[..., None])), -127, 127).astype(np.int8), most.copy()


@mistake("quantize_rows", "numbers cut off towards zero, not rounded to the nearest")
def truncates_rows(x):
    q, scales = quantize_rows(x)
    blocks = np.zeros((*x.shape[:-1], q.shape[-2] * 32), np.float32)
    blocks[..., : x.shape[-1]] = x
    return whole(blocks.reshape(q.shape), scales[..., None], np.trunc).astype(np.int8), scales


@mistake("quantize_rows", "a block of zeros divided by its scale of 0, which is NaN")
def divides_by_zero(x):
    q, scales = quantize_rows(x)
    return q, np.where(scales == 0, np.float32(np.nan), scales)


@mistake("quantize_rows", "the scale max |x| / 128, with which the largest number does not fit")
def divides_by_128(x):
    q, scales = quantize_rows(x)
    return q, scales * np.float32(127 / 128)


def product_mistakes(bits, dequantize):
    """Mistakes that are the same with 8 and 4 bits."""

    @mistake(f"linear_int{bits}", "a product with exact inputs, where they are rounded to 8 bits first")
    def exact_inputs(x, q, scales, n_out, b=None):
        return linear(x, dequantize(q, scales, x.shape[-1], n_out), b)

    @mistake(f"linear_int{bits}", "a product without the scales of the inputs")
    def without_input_scales(x, q, scales, n_out, b=None):
        xq, _ = quantize_rows(x)
        xq = xq.reshape(*x.shape[:-1], xq.shape[-2] * 32)[..., : x.shape[-1]].astype(x.dtype)
        return linear(xq, dequantize(q, scales, x.shape[-1], n_out), b)

    @mistake(f"linear_int{bits}", "a layer without its bias")
    def forgets_bias(x, q, scales, n_out, b=None):
        return rounded_product(x, dequantize(q, scales, x.shape[-1], n_out))


product_mistakes(8, dequantize_int8)
product_mistakes(4, dequantize_int4)


@mistake("linear_int8", "sums of two products that stop at 32,767, as those of vpmaddubsw do")
def saturates(x, q, scales, n_out, b=None):
    xq, x_scales = quantize_rows(rows(x))
    scale, wq = spread(scales)[:, :n_out], separate(q)[:, :, :n_out].astype(np.int32)
    left, right = xq.astype(np.int32), wq + 128  # unsigned, as that instruction wants its first operand
    left_pairs, right_pairs = left.reshape(*xq.shape[:2], 16, 2), right.reshape(len(wq), 16, 2, n_out)
    pairs = np.einsum("mnpi,npio->mnpo", left_pairs, right_pairs)
    dots = np.clip(pairs, -32768, 32767).sum(axis=2) - 128 * left.sum(axis=2)[..., None]
    y = (x_scales[..., None] * scale * dots).sum(axis=1, dtype=x.dtype).reshape(*x.shape[:-1], n_out)
    return y if b is None else y + b


@mistake("linear_int4", "a product without taking the 8 away that was added to each number")
def keeps_offset(x, q, scales, n_out, b=None):
    y = rounded_product(x, keeps_offset_4(q, scales, x.shape[-1], n_out))
    return y if b is None else y + b


def rounded_product(x, w):
    """x W, with x rounded to 8 bits."""
    q, x_scales = quantize_rows(x)
    rounded = (q * x_scales[..., None]).reshape(*x.shape[:-1], q.shape[-2] * 32)[..., : x.shape[-1]]
    return linear(np.ascontiguousarray(rounded, x.dtype), w)
