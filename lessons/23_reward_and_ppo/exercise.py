"""Lesson 23. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 23`.

What you are given must come back as it was. Numbers are float32, and so are
results; lengths are int64.
"""

import numpy as np


def bradley_terry_loss(chosen, rejected):
    """Compute how badly two scores predict that the first answer was preferred.

    chosen, rejected (N,), scores -> (N,), numbers above 0. By Bradley and Terry
    the probability that people agree is the sigmoid of the first score less
    the second. The loss is small where that is near 1. It must be right for
    scores that are thousands apart, too.
    """
    raise NotImplementedError


def gae(rewards, values, lengths, gamma, lam):
    """Estimate the advantage of every step from rewards and from values, which
    are expected returns.

    rewards (B, T), values (B, T), lengths (B,) ints from 0 to T -> advantages
    (B, T), returns (B, T), which are advantages + values. The surprise of a
    step compares what it brought, reward and value of the next step times
    gamma, with its own value. An advantage adds up the surprises from here on,
    each further one weighted by gamma lam once more. The value after the end is
    0. Both results are 0 from position lengths[b] on, and no input there is
    used.
    """
    raise NotImplementedError
