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
