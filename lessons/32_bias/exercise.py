"""Lesson 32. Put your own code in place of the `raise NotImplementedError`.

Then run `tinyllm check 32`.

What you are given must come back as it was.
"""

import math

import numpy as np


def auroc(scores, labels):
    """Return the chance that an example with label 1 has a larger score than
    an example with label 0.

    scores (N,), labels (N,) -> from 0 to 1, over all pairs of one of each;
    equal scores count one half. 0.5 is chance, NaN is returned unless both
    labels occur. It is the area under the ROC curve. labels are bool, or 0
    and 1.
    """
    raise NotImplementedError
