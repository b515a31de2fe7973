"""Provide test cases, common mistakes and correct variants for rope and its tables."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import axis, cases, few, floats, ints, sizes
from tinyllm.testing.bounds import BOUNDS, EPS, bound
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.relations import run_spec

even = axis(2, 4, 0, 6, 8, 16, 18, 32, 34, 64, 66)
bases = st.sampled_from((10000.0, 100.0, 500000.0))


@cases("rope_tables")
def rope_tables(draw):
    """Draw positions in any order (for all rows together, or for each row), an even width and a base."""
    shape = (draw(sizes),) if draw(st.booleans()) else (draw(few), draw(few))
    return ints(draw, shape, draw(st.sampled_from((8, 1, 100_000)))), draw(even), draw(bases)


@cases("rope")
def rope(draw):
    """Draw vectors, and the cos and sin of their positions; rows share positions or have their own."""
    shape = (draw(few), draw(sizes), draw(few), draw(even))
    own = shape[:2] if draw(st.booleans()) else shape[1:2]
    positions = ints(draw, own, draw(st.sampled_from((8, 1, 5000))))
    cos, sin = run_spec("rope_tables", (positions, shape[3]))
    return floats(draw, shape), cos, sin


@cases("scaled_rope_tables")
def scaled_rope_tables(draw):
    """Draw positions and one kind of scaling of RoPE, for a small or large context."""
    positions, width, base = draw(rope_tables())
    positions = positions + 1  # at position 0 the angle is 0 for every frequency
    kind = draw(st.sampled_from(("linear", "ntk", "llama3", "yarn", "yarn of its own growth")))
    scaling = {"rope_type": kind.split()[0], "factor": draw(st.sampled_from((4.0, 1.0, 32.0)))}
    if kind not in ("linear", "ntk"):
        scaling["original_max_position_embeddings"] = draw(st.sampled_from((64, 8192)))
    if kind == "llama3":
        scaling |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    if kind == "yarn of its own growth":
        scaling |= {"attention_factor": 1.5, "beta_fast": 16, "beta_slow": 2}
    if scaling["rope_type"] == "yarn":
        scaling |= draw(st.sampled_from(({}, {"truncate": False}, {"truncate": True})))
    return positions, width, base, scaling


@bound("rope", "rope_backward")
def rope_bound(args, results):
    """Bound the error of each pair of channels by 4 * 2^-23 times |a cos| + |b sin| and |b cos| + |a sin|."""
    x, cos, sin = (np.abs(value) for value in args)
    half = x.shape[-1] // 2
    a, b, cos, sin = x[..., :half], x[..., half:], cos[..., None, :], sin[..., None, :]
    return (4 * EPS * np.concatenate([a * cos + b * sin, b * cos + a * sin], axis=-1),)


BOUNDS["rope_tables"] = lambda args, results: (EPS, EPS)  # the angles are computed in float64
BOUNDS["scaled_rope_tables"] = lambda args, results: (2 * EPS, 2 * EPS)  # yarn multiplies by a factor, too

TURNED = "[a * cos - b * sin, b * cos + a * sin]"
HALVES = "a, b = x[..., :half], x[..., half:]"
NEIGHBOURS_OF_X = "a, b = x[..., ::2], x[..., 1::2]"
TABLES = "cos, sin = cos[..., None, :], sin[..., None, :]"

mistake("rope_tables", "exponents i / width, where 2i / width belongs", "np.arange(0, width, 2)",
        "np.arange(width // 2)")
mistake("rope_tables", "positions 0, 1, 2, ... whatever was asked for", "np.asarray(positions)",
        "np.broadcast_to(np.arange(np.shape(positions)[-1]), np.shape(positions))")
mistake("rope_tables", "angles in float32, which are wrong for large positions",
        "base ** (-np.arange(0, width, 2) / width)",
        "np.float32(base) ** (-np.arange(0, width, 2, dtype=np.float32) / np.float32(width))",
        "np.asarray(positions)", "np.asarray(positions, np.float32)")
mistake("rope_tables", "angles in degrees, where cos and sin take radians",
        "np.asarray(positions)[..., None] * frequency",
        "np.radians(np.asarray(positions)[..., None] * frequency)")
mistake("rope", "pairs of neighbours (2i, 2i + 1), where halves (i, i + D/2) belong", HALVES, NEIGHBOURS_OF_X,
        f"np.concatenate({TURNED}, axis=-1)", f"np.stack({TURNED}, axis=-1).reshape(x.shape)")
mistake("rope", "pairs of neighbours (2i, 2i + 1) in x, but halves in y", HALVES, NEIGHBOURS_OF_X)
mistake("rope", "the first row's positions for all rows", TABLES,
        f"cos, sin = (table[:1] if table.ndim == 3 else table for table in (cos, sin))\n{TABLES}")
mistake("rope", "only the first half turned", "b * cos + a * sin", "b")
mistake("rope", "the second half made from the first half as it is after its turn", "b * cos + a * sin",
        "b * cos + (a * cos - b * sin) * sin")
mistake("scaled_rope_tables", "positions that are multiplied by the factor, where they must be divided", "",
        "scaling = scaling | {'factor': 1 / scaling['factor']}")
mistake("scaled_rope_tables", "every kind treated as linear", "",
        "return rope_tables(np.asarray(positions) / scaling['factor'], width, base)")
mistake("scaled_rope_tables", "fast pairs slowed down and slow ones kept, the wrong way round",
        "kept + (1 - kept) / factor", "1 - kept + kept / factor")
mistake("scaled_rope_tables", "a step between kept and slowed pairs, where a ramp belongs",
        "kept + (1 - kept) / factor", "np.round(kept) + (1 - np.round(kept)) / factor")
mistake("scaled_rope_tables", "yarn with beta_fast 32 and beta_slow 1 whatever was given",
        "YARN | scaling", "YARN | scaling | {'beta_fast': 32, 'beta_slow': 1}")
mistake("scaled_rope_tables", "yarn with the angles multiplied by attention_factor, not cos and sin",
        "kept + (1 - kept) / factor", "growth * (kept + (1 - kept) / factor)",
        "np.cos(angle) * growth", "np.cos(angle)", "np.sin(angle) * growth", "np.sin(angle)")
mistake("scaled_rope_tables", "ntk with base * factor, without the exponent",
        "factor ** (width / max(width - 2, 1))", "factor")
mistake("scaled_rope_tables", "llama3 with its fast pairs slowed down and its slow ones kept",
        "np.clip((turns - s['low_freq_factor']) / (s['high_freq_factor'] - s['low_freq_factor']), 0, 1)",
        "1 - np.clip((turns - s['low_freq_factor']) / (s['high_freq_factor'] - s['low_freq_factor']), 0, 1)")


@variant("scaled_rope_tables")
def scaled_rope_tables_by_wavelengths(positions, width, base, scaling):
    kind, factor, pair = scaling["rope_type"], scaling["factor"], np.arange(width // 2)
    context, growth, slowed = scaling.get("original_max_position_embeddings"), 1.0, 1.0
    if kind == "ntk":
        base, factor = base * factor ** (width / max(width - 2, 1)), 1.0
    frequencies = base ** (-2 * pair / width)
    if kind == "llama3":
        fast, slow = scaling["high_freq_factor"], scaling["low_freq_factor"]
        slowed = np.clip((fast - context * frequencies / (2 * np.pi)) / (fast - slow), 0, 1)
    if kind == "yarn":
        growth = scaling.get("attention_factor") or 0.1 * np.log(max(factor, 1)) + 1
        low, high = (width * np.log(context / (scaling.get(beta, usual) * 2 * np.pi)) / (2 * np.log(base))
                     for beta, usual in (("beta_fast", 32), ("beta_slow", 1)))
        if scaling.get("truncate", True):
            low, high = np.floor(low), np.ceil(high)
        low, high = max(low, 0), min(high, width - 1)
        slowed = np.clip((pair - low) / max(high - low, 0.001), 0, 1)
    angle = np.multiply.outer(np.asarray(positions), frequencies * (1 - slowed + slowed / factor))
    return (growth * np.cos(angle)).astype(np.float32), (growth * np.sin(angle)).astype(np.float32)


@variant("rope")
def rope_by_complex_numbers(x, cos, sin):
    half = x.shape[-1] // 2
    turned = (x[..., :half] + 1j * x[..., half:]) * (cos + 1j * sin)[..., None, :]
    return np.concatenate([turned.real, turned.imag], axis=-1).astype(x.dtype)


@variant("rope_tables")
def rope_tables_by_complex_exponential(positions, width, base=10000.0):
    frequency = np.exp(-np.log(base) * np.arange(width // 2) * 2 / width)
    turned = np.exp(1j * (np.asarray(positions)[..., None] * frequency))
    return turned.real.astype(np.float32), turned.imag.astype(np.float32)
