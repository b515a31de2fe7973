"""Lesson 14. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 14`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.
"""

import numpy as np


def route(p, scores, top):
    """Choose for every token the `top` experts with the largest scores; their
    weights are their values of p.

    p, scores (N, E), top in 1..E -> weights (N, top), chosen (N, top) int64,
    the best first. Of experts with equal scores, the one with the lower number
    comes first. In Mixtral the scores are p itself. In DeepSeek-V3 they are p
    plus a bias, which changes which experts are chosen but not their weights.
    """
    raise NotImplementedError


def grouped_linear(x, w, counts):
    """Multiply each group of rows by its own matrix: the first counts[0]
    rows by w[0], and so on.

    x (N, I), w: E matrices (I, O), as a list or as an array (E, I, O), counts
    (E,) ints -> (N, O). A group may be empty.
    """
    raise NotImplementedError


def balance_loss(p, chosen):
    """Compute the loss that balances a router: E * sum over experts of load *
    mean p.

    p (N, E), chosen (N, top) ints -> (). The load of an expert is the share of
    tokens that chose it, so all loads add up to `top`. A balanced router has
    the loss `top`; it is larger when experts with a large p also get many
    tokens.
    Without tokens it is 0.
    """
    raise NotImplementedError


def balance_bias(bias, counts, rate):
    """Raise an expert's bias by `rate` if it got fewer tokens than average,
    lower it if it got more.

    bias (E,), counts (E,) ints, how many tokens chose each expert -> (E,). An
    expert with exactly its share keeps its bias.
    """
    raise NotImplementedError
