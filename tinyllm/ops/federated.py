"""Combine the weights that the clients of a federated training send back."""

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op(outputs=("mean",), grads=(), shapes="weights (N, P), tokens (N)")
def federated_mean(weights: Array, tokens: Array) -> Array:
    """Return the mean of the clients' weights; a client with more tokens counts more.

    weights (N, P), of N clients; tokens (N,), how many each has -> (P,):

        (tokens[0] weights[0] + tokens[1] weights[1] + ...) / (tokens[0] + tokens[1] + ...)

    Raises ValueError if there are no tokens. (McMahan et al., "Communication-efficient learning of deep
    networks from decentralized data", 2017, algorithm 1.)
    """
    if tokens.sum() <= 0:
        raise ValueError(f"federated_mean needs clients with tokens, got {len(tokens)} clients with none")
    shares = (tokens / tokens.sum()).astype(weights.dtype)
    return (shares[:, None] * weights).sum(axis=0)


@op(outputs=("mean",), grads=(), shapes="weights (N, P)")
def trimmed_mean(weights: Array, trim: int) -> Array:
    """Return the mean of each weight without its lowest and its highest values, which liars may have sent.

    weights (N, P), of N clients -> (P,): for each weight, its N values are sorted, the `trim` lowest and the
    `trim` highest are left out, and the others have the same share in the mean. It is the median if one value
    remains, or two. Up to `trim` clients may send anything: the mean stays among the values of the others.
    Raises ValueError unless 0 <= 2 trim < N. (Yin et al., "Byzantine-robust distributed learning", 2018.)
    """
    if not 0 <= 2 * trim < len(weights):
        raise ValueError(f"trimmed_mean leaves out 2 trim of N clients, 0 <= 2 trim < N: got trim = {trim}, "
                         f"N = {len(weights)}")
    return np.sort(weights, axis=0)[trim : len(weights) - trim].mean(axis=0)
