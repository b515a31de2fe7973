"""Provide test cases, common mistakes and correct variants for combining the weights of clients."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.rng import Random
from tinyllm.testing.arrays import cases, floats, seeds, sizes
from tinyllm.testing.bounds import BOUNDS, EPS, largest
from tinyllm.testing.edits import mistake, variant

clients = st.sampled_from((3, 1, 2, 4, 5, 10))


@cases("federated_mean")
def sent(draw):
    """Draw the weights of clients, and how many tokens each has: some have none, some very many."""
    N = draw(clients)
    tokens = Random(draw(seeds), "tokens").integers(draw(st.sampled_from((50, 3, 10**7))), N)
    tokens[draw(st.integers(0, N - 1))] += 1
    return floats(draw, (N, draw(sizes))), tokens.astype(np.float32)


@cases("trimmed_mean")
def sent_by_liars(draw):
    """Draw the weights of clients, often equal ones, and how many are left out at each end."""
    N = draw(clients)
    return floats(draw, (N, draw(sizes))), draw(st.integers(0, (N - 1) // 2))


BOUNDS |= dict.fromkeys(("federated_mean", "trimmed_mean"),
                        lambda args, results: (32 * EPS * largest(args[0], axis=0)[0],))

SORTED = "np.sort(weights, axis=0)"
KEPT = f"{SORTED}[trim : len(weights) - trim]"
mistake("federated_mean", "a mean in which all clients count the same, however many tokens they have",
        "(shares[:, None] * weights).sum(axis=0)", "weights.mean(axis=0)")
mistake("federated_mean", "tokens divided by those of the largest client, so that shares do not add up to 1",
        "tokens / tokens.sum()", "tokens / tokens.max()")
mistake("trimmed_mean", "only the highest values left out", KEPT, f"{SORTED}[: len(weights) - trim]")
mistake("trimmed_mean", "the first and the last clients left out, without sorting", SORTED, "weights")
mistake("trimmed_mean", "what remains divided by the number of all clients", f"{KEPT}.mean(axis=0)",
        f"{KEPT}.sum(axis=0) / len(weights)")
mistake("trimmed_mean", "whole clients left out, those with the lowest and the highest sums", SORTED,
        "weights[np.argsort(weights.sum(axis=1), kind='stable')]")


@variant("federated_mean")
def one_client_after_the_other(weights, tokens):
    total = np.zeros(weights.shape[1], weights.dtype)
    for sent, count in zip(weights, tokens, strict=True):
        total += sent * (count / tokens.sum())
    return total


@variant("trimmed_mean")
def one_weight_after_the_other(weights, trim):
    kept = [sorted(values)[trim : len(values) - trim] for values in weights.T.tolist()]
    return np.array([sum(values) / len(values) for values in kept], weights.dtype)
