"""Rotary position embedding: turn each pair of channels by an angle that grows with the position.

The dot product of a query and a key then depends only on how far apart they are.
"""

import numpy as np

from tinyllm.ops.registry import op


@op(outputs=("cos", "sin"))
def rope_tables(positions, width, base=10000.0):
    """Tabulate the cosine and sine of position * base^(-2i / width), for pair i = 0 .. width/2 - 1.

    positions (T,) or (B, T) ints -> cos, sin (T, width/2) or (B, T, width/2) float32. Raises ValueError
    when width is odd. (Su et al., "RoFormer", 2021, section 3.2.2.)
    """
    if width % 2:
        raise ValueError(f"rope turns pairs of channels, so the head width must be even, got {width}")
    frequency = base ** (-np.arange(0, width, 2) / width)
    angle = np.asarray(positions)[..., None] * frequency
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


@op(flops=3)
def rope(x, cos, sin):
    """Turn channels (i, i + D/2) of every token as one pair: (a, b) -> (a cos - b sin, b cos + a sin).

    x (B, T, H, D), cos and sin (T, D/2) -> (B, T, H, D); or cos and sin (B, T, D/2), where rows stand at
    positions of their own. Raises ValueError when the tables do not fit x.
    """
    half = x.shape[-1] // 2
    fits = x.ndim == 4 and cos.shape in ((x.shape[1], half), (*x.shape[:2], half))
    if not fits or x.shape[-1] % 2 or sin.shape != cos.shape:
        shapes = f"{x.shape}, {cos.shape} and {sin.shape}"
        raise ValueError(f"rope needs x (B, T, H, D) and two tables (T, D/2) or (B, T, D/2), got {shapes}")
    cos, sin = cos[..., None, :], sin[..., None, :]  # ([B,] T, 1, D/2): the same angle for every head
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


@op
def rope_backward(dy, cos, sin):
    """Carry a gradient back through rope: turn it by the opposite angle.

    dy (B, T, H, D), cos and sin (T, D/2) or (B, T, D/2) -> dx (B, T, H, D). A gradient meets the
    transpose of the forward map, and the transpose of a rotation is its inverse.
    """
    return rope(dy, cos, -sin)
