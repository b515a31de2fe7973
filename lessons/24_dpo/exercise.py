"""Lesson 24. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 24`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.
"""

import numpy as np


def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta=0.1,
             kind="sigmoid"):
    """Compute the loss of direct preference optimization, which needs no reward
    model.

    The arrays (N,) are log-probabilities of whole answers, sums over their
    tokens, by the model that is trained and by the reference -> loss (N,),
    margins (N,): the reward of the chosen answer minus that of the rejected
    one, where beta is inside the rewards. kind is "sigmoid" for DPO or "ipo",
    whose margins are the same and whose loss is another. Both stay finite for
    every margin, however large, of either sign.
    """
    raise NotImplementedError
