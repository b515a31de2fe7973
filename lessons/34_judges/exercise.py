"""Lesson 34. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 34`.

What you are given must come back as it was.
"""

import numpy as np


def bradley_terry_step(wins, strengths):
    """Improve estimates of how strong players are, so that i beats j with
    probability s_i / (s_i + s_j).

    wins (n, n), wins[i, j] is how often i beat j, a draw is half a win of each;
    strengths s (n,), at least 0 -> (n,), divided by their sum. Before that
    division, the new strength of a player is the old one, times the games that
    the player won, divided by those that the old strengths let expect.

    All strengths are replaced at once; players without games keep theirs.
    Repeated, the steps reach the likeliest strengths. A strength may be 0, of
    at most one of two players who met.
    """
    raise NotImplementedError


def bootstrap_interval(scores, draws, level=0.95):
    """Return an interval for a mean of scores: where the means of most drawn
    scores lie.

    scores (N,), draws (B, N) ints below N, each row N places drawn with
    replacement -> low, high: between them lies a share `level` of the B means,
    and as many below as above. They are quantiles as np.quantile interpolates.
    Narrow for N < 50.
    """
    raise NotImplementedError
