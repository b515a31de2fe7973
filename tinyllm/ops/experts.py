"""Compute mixtures of experts: choose experts for each token, multiply by their matrices, balance the load.

An expert takes any number of tokens, so no token is dropped (Gale et al., "MegaBlocks: Efficient Sparse
Training with Mixture-of-Experts", 2022).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyllm.ops.matmul import matmul
from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array, ids_below, linear_flops


@op(outputs=("weights", "chosen"), grads=("p",), shapes="p (N, E), scores (N, E)")
def route(p: Array, scores: Array, top: int) -> tuple[Array, Array]:
    """Choose for every token the `top` experts with the largest scores; their weights are their values of p.

    p, scores (N, E), top in 1..E -> weights (N, top), chosen (N, top) int64, the best first. Of experts with
    equal scores, the one with the lower number comes first. In Mixtral the scores are p itself. In
    DeepSeek-V3 they are p plus a bias, which changes which experts are chosen but not their weights.
    """
    if not 1 <= top <= p.shape[1]:
        raise ValueError(f"route needs top from 1 to the number of experts, got top = {top} of {p.shape[1]}")
    chosen = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return np.take_along_axis(p, chosen, axis=1), np.ascontiguousarray(chosen)


@op(shapes="dweights (N, K), p (N, E), chosen (N, K)")
def route_backward(dweights: Array, p: Array, chosen: Array) -> Array:
    """Compute the gradient of route with respect to p, 0 for experts not chosen; the choice has none."""
    ids_below("route", chosen, max(p.shape[1], 1))
    dp = np.zeros_like(p, order="C")
    np.put_along_axis(dp, chosen, dweights, axis=1)
    return dp


def expert_counts(chosen: Array, experts: int) -> Array:
    """Count how many tokens chose each expert: chosen (N, top) -> (E,) int64."""
    ids_below("chosen", chosen, max(experts, 1))
    return np.bincount(chosen.ravel(), minlength=experts)


@op(outputs=("loss",), grads=("p",), shapes="p (N, E), chosen (N, K)")
def balance_loss(p: Array, chosen: Array) -> Array:
    """Compute the loss that balances a router: E * sum over experts of load * mean p.

    p (N, E), chosen (N, top) ints -> (). The load of an expert is the share of tokens that chose it, so all
    loads add up to `top`. A balanced router has the loss `top`; it is larger when experts with a large p also
    get many tokens. Without tokens it is 0. (Fedus et al., "Switch Transformers", 2022, section 2.2.)
    """
    n, experts = p.shape
    load = expert_counts(chosen, experts).astype(p.dtype) / max(n, 1)
    return np.asarray((load * p.sum(axis=0) / max(n, 1)).sum() * experts, p.dtype)


@op(shapes="p (N, E), chosen (N, K)")
def balance_loss_backward(dloss: Array, p: Array, chosen: Array) -> Array:
    """Compute the gradient of balance_loss with respect to p, equal for all tokens; loads are constants."""
    n, experts = p.shape
    load = expert_counts(chosen, experts).astype(p.dtype) / max(n, 1)
    return np.zeros_like(p, order="C") + dloss * load * experts / max(n, 1)


@op(outputs=("new",), shapes="bias (E), counts (E)")
def balance_bias(bias: Array, counts: Array, rate: float) -> Array:
    """Raise an expert's bias by `rate` if it got fewer tokens than average, lower it if it got more.

    bias (E,), counts (E,) ints, how many tokens chose each expert -> (E,). An expert with exactly its share
    keeps its bias. (Wang et al., "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts", 2024.)
    """
    behind = np.sign(counts.sum() - counts * len(counts))  # whole numbers: equality is exact
    return bias + bias.dtype.type(rate) * behind.astype(bias.dtype)


def check_grouped(x: Array, w: Sequence[Array] | Array, counts: Array) -> None:
    """Raise ValueError unless the counts add up to the rows of x, and each group has one matrix."""
    shapes = {m.shape for m in w}
    alike = len(shapes) == 1 and x.ndim == 2 and all(len(s) == 2 and s[0] == x.shape[1] for s in shapes)
    if not alike or counts.shape != (len(w),):
        found = f"x {x.shape}, counts {counts.shape} and {len(w)} matrices of shapes {sorted(shapes)}"
        raise ValueError(f"needs x (N, I), w: E matrices (I, O), counts (E,), got {found}")
    if np.any(counts < 0) or counts.sum() != len(x):
        raise ValueError(f"needs counts >= 0 that add up to {len(x)} rows, got {counts.tolist()}")


def check_grouped_backward(dy: Array, x: Array, w: Sequence[Array] | Array, counts: Array) -> None:
    """Raise ValueError unless dy has the shape of the product."""
    check_grouped(x, w, counts)
    if dy.shape != (len(x), w[0].shape[1]):
        raise ValueError(f"needs dy {(len(x), w[0].shape[1])}, got {dy.shape}")


def groups(counts: Array) -> list[slice]:
    """Return the rows of each group as slices: [2, 0, 3] -> [0:2, 2:2, 2:5]."""
    ends = np.cumsum(counts).tolist()
    return [slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]


@op(grads=("x", "w"), check=check_grouped, flops=linear_flops, follows="matmul")
def grouped_linear(x: Array, w: Any, counts: Array) -> Array:
    """Multiply each group of rows by its own matrix: the first counts[0] rows by w[0], and so on.

    x (N, I), w: E matrices (I, O), as a list or as an array (E, I, O), counts (E,) ints -> (N, O). A group
    may be empty. Raises ValueError unless the counts add up to N and the sizes fit.
    """
    parts = [matmul(x[rows], matrix) for rows, matrix in zip(groups(counts), w, strict=True)]
    return np.concatenate(parts)


@op(check=check_grouped_backward, follows="matmul")
def grouped_linear_backward(dy: Array, x: Array, w: Any, counts: Array) -> tuple[Array, Array]:
    """Compute the gradients of grouped_linear: for each group, those of linear; dw is 0 if it is empty."""
    dx = [matmul(dy[rows], matrix, transpose_b=True) for rows, matrix in zip(groups(counts), w, strict=True)]
    dw = [matmul(x[rows], dy[rows], transpose_a=True) for rows in groups(counts)]
    return np.concatenate(dx), np.stack(dw)


def check_combine(y: Array, weights: Array, places: Array) -> None:
    """Raise ValueError unless `places` has each row number of y exactly once, TypeError if it is not ints."""
    if places.dtype.kind not in "iu":
        raise TypeError(f"combine_experts needs integer places, got {places.dtype}")
    flat = places.ravel()
    inside = flat.size == 0 or (flat.min() >= 0 and flat.max() < len(y))
    if flat.size != len(y) or not inside or np.bincount(flat, minlength=len(y)).max(initial=0) > 1:
        raise ValueError(f"needs places {weights.shape} that name each of {len(y)} rows once")


COMBINED = "y (M, C), weights (N, K), places (N, K)"


@op(outputs=("z",), grads=("y", "weights"), shapes=COMBINED, check=check_combine)
def combine_experts(y: Array, weights: Array, places: Array) -> Array:
    """Add up the results of each token's experts, multiplied by the token's weights for the experts.

    y (N * top, C), weights (N, top), places (N, top) ints -> z (N, C): z[n] is the sum over k of
    weights[n, k] * y[places[n, k]], in this order. Raises ValueError unless each row of y has one place.
    """
    return (weights[..., None] * y[places]).sum(axis=1)


@op(shapes=f"dz (N, C), {COMBINED}", check=lambda dz, *rest: check_combine(*rest))
def combine_experts_backward(dz: Array, y: Array, weights: Array, places: Array) -> tuple[Array, Array]:
    """Compute the gradients of combine_experts: dy, and dweights[n, k] = dz[n] . y[places[n, k]]."""
    dy = np.empty(y.shape, y.dtype)
    dy[places] = weights[..., None] * dz[:, None]
    return dy, (dz[:, None] * y[places]).sum(axis=-1)
