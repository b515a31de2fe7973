"""Lesson 25. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 25`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.
"""

import numpy as np


def group_advantages(rewards, divide=True, leave_one_out=False):
    """Return how much better each of K answers to a prompt is than its group.

    rewards (N, K) -> (N, K), a row for each prompt. An answer is compared with
    the mean of its group or, with leave_one_out, with the mean of the K - 1
    other answers. With `divide`, the result is divided by the group's standard
    deviation plus 1e-4, whose squares are divided by (K - 1); it is that of the
    whole group, around its mean, in any case. Groups of equal rewards, or of
    one answer, get exactly 0, whatever the rewards are.
    """
    raise NotImplementedError


def clipped_loss(new, old, advantages, low=0.2, high=0.2):
    """Compute the loss of PPO for tokens: take the smaller of two terms, with a
    minus sign.

    new, old, advantages (...) -> loss (...), clipped (...) bool. new and old
    are log-probabilities, and the ratio is that of the probabilities. One term
    takes it as it is, the other one keeps it from 1 - low to 1 + high. clipped
    is True where the second one is strictly smaller; the loss has no slope
    there. With low = high = inf nothing is clipped.
    """
    raise NotImplementedError
