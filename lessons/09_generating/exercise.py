"""Lesson 9. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 9`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.
"""

import numpy as np


def temperature(logits, t):
    """Divide logits by t: a t below 1 sharpens the distribution, a t above 1
    flattens it.

    logits (..., V) -> (..., V). t > 0.
    """
    raise NotImplementedError


def top_k(logits, k):
    """Keep the k largest logits; the others become -inf.

    logits (..., V) -> (..., V). k may be more than V. Of equal logits the
    smaller id wins. k >= 1.
    """
    raise NotImplementedError


def top_p(logits, p):
    """Keep the fewest most likely tokens whose probabilities sum to p or more;
    others become -inf.

    logits (..., V) -> (..., V). The token that crosses p stays. Of equal logits
    the smaller id counts as the more likely. 0 < p <= 1.
    """
    raise NotImplementedError


def repetition_penalty(logits, ids, penalty):
    """Lower the logits of tokens that were already used.

    logits (..., V), ids (..., n) ints -> (..., V). A used token's logit is
    divided by penalty if it is positive, and multiplied by penalty otherwise,
    no matter how often the token was used. penalty > 0.
    """
    raise NotImplementedError
