"""Lesson 26. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 26`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.
"""

import numpy as np


def kl_estimate(new, reference, kind="k3"):
    """Estimate the KL divergence of two models from tokens that the first one
    wrote.

    new, reference (...), the log-probabilities of the same tokens under both
    models -> (...), whose mean is the estimate. kind is "k1", "k2" or "k3", as
    in the lesson; "k3" is never negative, not even by rounding.
    """
    raise NotImplementedError


def kl_estimate_backward(dkl, new, reference, kind="k3"):
    """Compute the gradient of kl_estimate in new.

    dkl, the gradient of the estimates, new, reference: all (...) -> dnew (...).
    """
    raise NotImplementedError
