"""Right solutions of the ops in rope.py, written differently."""

import numpy as np

from tinyllm.testing.alternative import alternative


@alternative
def rope_by_complex_numbers(x, cos, sin):
    half = x.shape[-1] // 2
    turned = (x[..., :half] + 1j * x[..., half:]) * (cos + 1j * sin)[..., None, :]
    return np.concatenate([turned.real, turned.imag], axis=-1).astype(x.dtype)


@alternative
def rope_by_rotating_half(x, cos, sin):
    """As in Hugging Face's LLaMA."""
    a, b = np.split(x, 2, axis=-1)
    cos, sin = np.tile(cos, 2)[..., None, :], np.tile(sin, 2)[..., None, :]
    return x * cos + np.concatenate([-b, a], axis=-1) * sin


@alternative
def rope_by_pairs(x, cos, sin):
    y, half = np.empty_like(x, order="C"), x.shape[-1] // 2
    for i in range(half):
        c, s = cos[..., i, None], sin[..., i, None]
        y[..., i] = x[..., i] * c - x[..., i + half] * s
        y[..., i + half] = x[..., i + half] * c + x[..., i] * s
    return y


@alternative
def rope_tables_by_outer_product(positions, width, base=10000.0):
    frequency = 1 / base ** (np.arange(0, width, 2, dtype=np.float64) / width)
    angles = np.multiply.outer(np.asarray(positions), frequency)
    return np.cos(angle_of(angles)).astype(np.float32), np.sin(angle_of(angles)).astype(np.float32)


def angle_of(angles):
    """Angles as float64, whatever the positions are."""
    return np.asarray(angles, np.float64)


@alternative
def rope_tables_by_loops(positions, width, base=10000.0):
    positions = np.asarray(positions)
    angles = np.empty((*positions.shape, width // 2))
    for i in range(width // 2):
        angles[..., i] = positions * base ** (-2 * i / width)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


@alternative
def rope_tables_by_complex_exponential(positions, width, base=10000.0):
    frequency = np.exp(-np.log(base) * np.arange(width // 2) * 2 / width)
    turned = np.exp(1j * (np.asarray(positions)[..., None] * frequency))
    return turned.real.astype(np.float32), turned.imag.astype(np.float32)
