"""Mistakes in rope and its tables."""

import numpy as np

from tinyllm.ops import rope, rope_tables, scaled_rope_tables
from tinyllm.testing.mistake import mistake


def tables(positions, width, frequency):
    """Cosine and sine of positions times frequencies."""
    angle = np.asarray(positions)[..., None] * frequency(np.arange(width // 2))
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


@mistake("rope_tables", "exponents i / width, where 2i / width belongs")
def half_the_exponent(positions, width, base=10000.0):
    return tables(positions, width, lambda i: base ** (-i / width))


@mistake("rope_tables", "frequencies base^(2i / width), with the wrong sign")
def rising_frequencies(positions, width, base=10000.0):
    return tables(positions, width, lambda i: base ** (2 * i / width))


@mistake("rope_tables", "positions counted from 1")
def counts_from_one(positions, width, base=10000.0):
    return rope_tables(positions + 1, width, base)


@mistake("rope_tables", "sine and cosine swapped")
def swaps(positions, width, base=10000.0):
    return rope_tables(positions, width, base)[::-1]


@mistake("rope_tables", "positions 0, 1, 2, ... whatever was asked for")
def ignores_positions(positions, width, base=10000.0):
    return rope_tables(np.broadcast_to(np.arange(positions.shape[-1]), positions.shape), width, base)


@mistake("rope_tables", "angles in float32, which are wrong for large positions")
def float32_angles(positions, width, base=10000.0):
    frequency = np.float32(base) ** (-np.arange(0, width, 2, dtype=np.float32) / np.float32(width))
    angle = positions.astype(np.float32)[..., None] * frequency
    return np.cos(angle), np.sin(angle)


def turn(x, cos, sin):
    """(a, b) -> the second half, the first half, and tables that fit them."""
    half = x.shape[-1] // 2
    return x[..., :half], x[..., half:], cos[..., None, :], sin[..., None, :]


@mistake("rope", "pairs of neighbours (2i, 2i + 1), where halves (i, i + D/2) belong")
def interleaves(x, cos, sin):
    y = np.empty_like(x)
    a, b, (cos, sin) = x[..., ::2], x[..., 1::2], (cos[..., None, :], sin[..., None, :])
    y[..., ::2], y[..., 1::2] = a * cos - b * sin, b * cos + a * sin
    return y


@mistake("rope", "pairs of neighbours (2i, 2i + 1) in x, but halves in y")
def interleaves_into_halves(x, cos, sin):
    a, b, (cos, sin) = x[..., ::2], x[..., 1::2], (cos[..., None, :], sin[..., None, :])
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


@mistake("rope", "a turn the other way round")
def turns_back(x, cos, sin):
    return rope(x, cos, -sin)


@mistake("rope", "b cos - a sin in the second half: that is no rotation")
def reflects(x, cos, sin):
    a, b, cos, sin = turn(x, cos, sin)
    return np.concatenate([a * cos - b * sin, b * cos - a * sin], axis=-1)


@mistake("rope", "sine and cosine swapped")
def swaps_tables(x, cos, sin):
    return rope(x, sin, cos)


@mistake("rope", "the first row's positions for all rows")
def shares_the_first_row(x, cos, sin):
    return rope(x, cos[0], sin[0]) if cos.ndim == 3 and len(cos) else rope(x, cos, sin)


@mistake("rope", "only the first half turned")
def turns_one_half(x, cos, sin):
    a, b, cos, sin = turn(x, cos, sin)
    return np.concatenate([a * cos - b * sin, b], axis=-1)


@mistake("rope_backward", "the forward turn once more: the gradient turns back")
def turns_forward(dy, cos, sin):
    return rope(dy, cos, sin)


@mistake("rope_backward", "dy cos, without the sine terms")
def forgets_the_sine(dy, cos, sin):
    return rope(dy, cos, 0 * sin)


@mistake("rope_backward", "pairs of neighbours, where halves belong")
def interleaves_backward(dy, cos, sin):
    return interleaves(dy, cos, -sin)


@mistake("rope_tables", "angles in degrees, where cos and sin take radians")
def in_degrees(positions, width, base=10000.0):
    frequency = base ** (-np.arange(0, width, 2) / width)
    angle = np.radians(np.asarray(positions)[..., None] * frequency)
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


@mistake("scaled_rope_tables", "positions that are multiplied by the factor, where they must be divided")
def stretches(positions, width, base, scaling):
    return scaled_rope_tables(positions, width, base, scaling | {"factor": 1 / scaling["factor"]})


@mistake("scaled_rope_tables", "every kind treated as linear")
def all_linear(positions, width, base, scaling):
    return rope_tables(positions / scaling["factor"], width, base)


@mistake("scaled_rope_tables", "yarn's frequencies without its growth of cos and sin")
def without_growth(positions, width, base, scaling):
    grows = scaling["rope_type"] == "yarn"
    return scaled_rope_tables(positions, width, base, scaling | ({"attention_factor": 1.0} if grows else {}))
