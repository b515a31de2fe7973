"""Provide test cases, common mistakes and correct variants for the ops of a mixture of experts."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.rng import Random
from tinyllm.testing.arrays import CASES, MODEST, axis, cases, few, floats, ints, seeds, sizes
from tinyllm.testing.bounds import BOUNDS, EPS, TINY, of_sizes
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.relations import backward_cases, declared_cases

experts = st.sampled_from((2, 1, 3, 4, 8, 17))
rows = axis(2, 1, 3, 0, 16, 33)  # numbers of tokens: one batch in six is empty


def chosen_experts(draw, n):
    """Draw the chosen experts of each token, as many for each token; an expert may have no token."""
    order = Random(draw(seeds), "chosen").uniform((n["N"], n["E"])).argsort(axis=1)
    return np.array(order[:, : draw(st.integers(1, n["E"]))], np.int32)


@cases("grouped_linear")
def grouped_linear(draw):
    """Draw groups of rows and a matrix for each group; groups may be empty, matrices may be square."""
    counts = ints(draw, (draw(experts),), draw(st.sampled_from((1, 3, 20))))
    wide, narrow = draw(sizes), draw(sizes)
    if draw(st.sampled_from((False, False, True))):
        wide = narrow
    return floats(draw, (int(counts.sum()), wide)), floats(draw, (len(counts), wide, narrow)), counts


@cases("combine_experts")
def combine_experts(draw):
    """Draw rows computed by experts, and for each token the weights and the indices of its rows."""
    n, top, c = draw(sizes), draw(few), draw(sizes)
    order = Random(draw(seeds), "places").shuffle(range(n * top))
    places = np.array(order, np.int64).reshape(n, top)
    return floats(draw, (n * top, c)), floats(draw, (n, top)), places


CASES |= {
    "route": declared_cases("route", {"N": rows, "E": experts},
                            top=lambda draw, n: draw(st.integers(1, n["E"]))),
    "balance_loss": (losses := declared_cases("balance_loss", {"N": rows, "E": experts, "K": few}, p=MODEST,
                                              chosen=chosen_experts)),
    "balance_loss_backward": backward_cases("balance_loss", losses, MODEST),
    "balance_bias": declared_cases("balance_bias", {"E": experts}, rate=st.sampled_from((0.25, 0.0, 0.001)),
                                   counts=lambda draw, n: ints(draw, (n["E"],), 4)),  # some equal the mean
}
BOUNDS |= {
    "combine_experts": of_sizes("combine_experts", lambda weights, **_: 2 + weights.shape[1]),
    "combine_experts_backward": of_sizes("combine_experts_backward", lambda dz, **_: 2 + dz.shape[1]),
    "balance_loss": of_sizes("balance_loss", lambda p, **_: 8 + p.size),
    "balance_loss_backward": of_sizes("balance_loss_backward", lambda p, **_: 8),
    "balance_bias": lambda args, results: (2 * EPS * (np.abs(args[0]) + args[2]) + TINY,),
    "grouped_linear": of_sizes("grouped_linear", lambda x, **_: 3 + x.shape[-1]),
    "grouped_linear_backward": of_sizes("grouped_linear_backward", lambda dy, **_: 4 + dy.size),
}

CHOSEN = 'np.argsort(-scores, axis=1, kind="stable")[:, :top]'
COUNTS = "expert_counts(chosen, experts).astype(p.dtype)"
MEAN = "load * p.sum(axis=0) / max(n, 1)"

mistake("route", "the chosen in the order of their numbers, not the best first", CHOSEN,
        f"np.sort({CHOSEN}, axis=1)")
mistake("balance_loss", "the load divided by its sum: with top-k routing it adds up to k",
        f"{COUNTS} / max(n, 1)", f"{COUNTS} / max(chosen.size, 1)")
mistake("balance_loss", "a loss above 0 where there are no tokens", MEAN, f"{MEAN} + (n == 0) / experts")
mistake("balance_loss", "the square of the load: a count has no gradient", MEAN, "load * load")
mistake("balance_bias", "a step as large as the lack of tokens: the rule uses its sign alone",
        "np.sign(counts.sum() - counts * len(counts))", "counts.mean() - counts")
mistake("balance_bias", "an expert with exactly its share lowered, where it keeps its bias",
        "behind.astype(bias.dtype)", "np.where(behind > 0, 1, -1).astype(bias.dtype)")
mistake("balance_bias", "counts compared with the largest count, not with the mean",
        "counts.sum() - counts * len(counts)", "counts.max() - counts")
mistake("balance_bias", "counts compared with the average rounded down",
        "counts.sum() - counts * len(counts)", "counts.sum() // len(counts) - counts")
mistake("grouped_linear", "each group taken from the first rows: the start does not move on", "x[rows]",
        "x[: rows.stop - rows.start]")
mistake("grouped_linear", "0 from the first empty group on: the groups after it count as well", "",
        "w = [w[i] * bool(np.all(counts[:i])) for i in range(len(w))]")
mistake("grouped_linear", "empty groups left out, so that later groups get the matrices of others",
        "zip(groups(counts), w, strict=True)", "zip(groups(counts[counts > 0]), w)")
mistake("grouped_linear", "each start at the last count alone: the counts of all groups before it add up",
        "[slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]",
        "[slice(begin, begin + n) for begin, n in zip([0, *counts.tolist()], counts.tolist())]")


@variant("balance_loss")
def balance_loss_by_tokens(p, chosen):
    load = [sum(e in row for row in chosen.tolist()) / max(len(p), 1) for e in range(p.shape[1])]
    return np.asarray((np.array(load) * p.sum(axis=0) / max(len(p), 1)).sum() * p.shape[1], p.dtype)


variant("grouped_linear")(lambda x, w, counts: np.einsum(
    "ni,nio->no", x, np.asarray(w)[np.repeat(np.arange(len(counts)), counts)]))


@variant("route")
def route_by_sorting_pairs(p, scores, top):
    chosen = [sorted(range(len(row)), key=lambda e, row=row: (-row[e], e))[:top] for row in scores.tolist()]
    chosen = np.array(chosen, np.int64).reshape(len(p), top)
    return np.array([p[n, each] for n, each in enumerate(chosen)], p.dtype).reshape(len(p), top), chosen
