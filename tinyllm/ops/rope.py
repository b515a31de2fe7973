"""Encode positions by rotation: rotate each pair of channels by an angle that grows with the position.

The dot product of a query and a key then depends only on the distance between them.
"""

from typing import Any

import numpy as np

from tinyllm.config import bounded, conform
from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op(outputs=("cos", "sin"))
def rope_tables(positions: Array, width: int, base: float = 10000.0) -> tuple[Array, Array]:
    """Tabulate the cosine and sine of position * base^(-2i / width), for pair i = 0 .. width/2 - 1.

    positions (T,) or (B, T) ints -> cos, sin (T, width/2) or (B, T, width/2) float32, from angles in
    float64. Raises ValueError when width is odd. (Su et al., "RoFormer", 2021, section 3.2.2.)
    """
    if width % 2:
        raise ValueError(f"rope turns pairs of channels, so the head width must be even, got {width}")
    frequency = base ** (-np.arange(0, width, 2) / width)
    angle = np.asarray(positions)[..., None] * frequency
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


CONTEXT = "original_max_position_embeddings"
YARN: dict[str, Any] = {"beta_fast": 32.0, "beta_slow": 1.0, "attention_factor": None, "truncate": True}
POSITIVE, MAYBE = bounded(float, above=0), bounded(float | None, above=0)
LLAMA3 = (CONTEXT, "low_freq_factor", "high_freq_factor")
NEEDED: dict[Any, tuple] = {"linear": (), "ntk": (), "llama3": LLAMA3, "yarn": (CONTEXT,)}
OPTIONAL = {"rope_theta": MAYBE, "attention_factor": MAYBE, "truncate": bool}


def check_scaling(positions: Array, width: int, base: float, scaling: dict[str, Any]) -> None:
    """Raise ValueError unless scaling is a dictionary of a known kind, with the settings of that kind."""
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind not in NEEDED:
        raise ValueError(f"rope_scaling of type {kind!r} is not known: choose one of {', '.join(NEEDED)}")
    needed = {"factor", *NEEDED[kind]}
    settings = scaling.keys() - {"rope_type", "type"}
    if unknown := settings - needed - {"rope_theta", *(YARN if kind == "yarn" else ())}:
        raise ValueError(f"rope_scaling of type {kind!r} does not know {min(map(str, unknown))!r}")
    conform(scaling, {name: OPTIONAL.get(name, POSITIVE) for name in sorted(needed | settings)},
            "rope_scaling")
    if width % 2:
        raise ValueError(f"rope turns pairs of channels, so the head width must be even, got {width}")


def llama3_kept(width: int, base: float, s: dict[str, Any]) -> Array:
    """Return llama3's weight for each pair of channels: 1 keeps the frequency f, 0 makes it f / factor."""
    turns = base ** (-np.arange(0, width, 2) / width) * s[CONTEXT] / (2 * np.pi)
    return np.clip((turns - s["low_freq_factor"]) / (s["high_freq_factor"] - s["low_freq_factor"]), 0, 1)


def yarn_kept(width: int, base: float, s: dict[str, Any]) -> Array:
    """Return YaRN's weight for each pair of channels: 1 keeps the frequency f, 0 makes it f / factor."""
    turns = np.array([s["beta_fast"], s["beta_slow"]])
    pairs = width * np.log(s[CONTEXT] / (2 * np.pi * turns)) / (2 * np.log(base))
    if s["truncate"]:
        pairs = np.floor(pairs[0]), np.ceil(pairs[1])
    first, last = max(pairs[0], 0), min(pairs[1], width - 1)
    return 1 - np.clip((np.arange(width // 2) - first) / (last - first or 0.001), 0, 1)


@op(outputs=("cos", "sin"), check=check_scaling)
def scaled_rope_tables(positions: Array, width: int, base: float,
                       scaling: dict[str, Any]) -> tuple[Array, Array]:
    """Tabulate cosines and sines for a context `factor` times as long as the training context.

    The tables are as in rope_tables. scaling is like Hugging Face's rope_scaling; its "rope_type" is one of:
    "linear"  every frequency f becomes f / factor (Chen et al. 2023, arXiv 2306.15595)
    "ntk"     the base becomes base * factor^(width / (width - 2)): the slowest pair turns at f / factor, the
              fastest at f
    "llama3"  pairs with many turns in the training context, original_max_position_embeddings tokens, keep f,
              pairs with few get f / factor, and pairs between low_freq_factor and high_freq_factor turns a
              mean of both
    "yarn"    the same with beta_slow and beta_fast turns, and cos and sin are multiplied by attention_factor,
              by default (or if None) 1 + 0.1 ln(factor), or 1 if factor < 1 (Peng et al. 2023, arXiv
              2309.00071); the indices of these two pairs are rounded unless "truncate" is false
    Raises ValueError for another kind, and for missing or unknown settings.
    """
    kind, factor = scaling.get("rope_type", scaling.get("type")), scaling["factor"]
    settings = YARN | scaling
    if kind == "linear":
        return rope_tables(np.asarray(positions) / factor, width, base)
    if kind == "ntk":
        return rope_tables(positions, width, base * factor ** (width / max(width - 2, 1)))
    kept, growth = (llama3_kept if kind == "llama3" else yarn_kept)(width, base, settings), 1.0
    if kind == "yarn":
        growth = settings["attention_factor"] or 1 + 0.1 * np.log(max(factor, 1))
    frequency = base ** (-np.arange(0, width, 2) / width) * (kept + (1 - kept) / factor)
    angle = np.asarray(positions)[..., None] * frequency
    return (np.cos(angle) * growth).astype(np.float32), (np.sin(angle) * growth).astype(np.float32)


def check_rope(x: Array, cos: Array, sin: Array) -> None:
    """Raise ValueError unless x has four axes, and the tables fit its positions and pairs."""
    half = x.shape[-1] // 2 if x.ndim == 4 else None
    fits = x.ndim == 4 and cos.shape in ((x.shape[1], half), (*x.shape[:2], half))
    if not fits or x.shape[-1] % 2 or sin.shape != cos.shape:
        shapes = f"{x.shape}, {cos.shape} and {sin.shape}"
        raise ValueError(f"needs x (B, T, H, D) and two tables (T, D/2) or (B, T, D/2), got {shapes}")


@op(check=check_rope, flops=3)
def rope(x: Array, cos: Array, sin: Array) -> Array:
    """Rotate the channels i and i + D/2 of every token as one pair: (a, b) -> (a cos - b sin, b cos + a sin).

    x (B, T, H, D), cos and sin (T, D/2) -> (B, T, H, D); or cos and sin (B, T, D/2), if each row has its own
    positions. Raises ValueError when the tables do not fit x.
    """
    half = x.shape[-1] // 2
    cos, sin = cos[..., None, :], sin[..., None, :]  # ([B,] T, 1, D/2): the same angle for every head
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


@op(check=check_rope)
def rope_backward(dy: Array, cos: Array, sin: Array) -> Array:
    """Compute the gradient of rope: rotate dy by the opposite angle.

    The gradient of a linear map is its transpose, and the transpose of a rotation is its inverse.
    """
    return rope(dy, cos, -sin)
