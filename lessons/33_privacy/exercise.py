"""Lesson 33. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 33`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.
"""

import numpy as np


def exposure(losses, canaries):
    """Return how many bits a model gives away about texts that were planted in
    its training data: canaries.

    losses (N,) of N texts that were not planted, but could have been; canaries
    (M,), the losses of M texts that were -> (M,). The rank of a canary is its
    place among the N texts and itself, 1 for the smallest loss; of equal losses
    the canary is last. 0 bits: unknown; log2(N + 1): the first guess.
    """
    raise NotImplementedError
