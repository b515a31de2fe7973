"""Lesson 31. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 31`.

What you are given must come back as it was. Numbers with a fraction are
float32, but a result that is one number is a Python float.
"""

import numpy as np


def expected_calibration_error(confidences, right, bins=15):
    """Return how far confidences are from shares of right answers, among
    answers of similar confidence.

    confidences (N,) from 0 to 1, right (N,) bool, or 0 and 1 -> a float. Sort
    the answers into `bins` bins of equal width. In each bin compare the share
    that is right with the mean confidence. The result is the mean of these
    differences, taken as positive, each weighted by the share of all answers
    that the bin holds. A confidence on an edge belongs to the bin below it, and
    0 to the first bin.
    """
    raise NotImplementedError


def brier_score(confidences, right):
    """Return how far confidences are from the truth, as a mean of squares.

    confidences (N,) from 0 to 1, right (N,) bool, or 0 and 1 -> a float from 0,
    sure and right, to 1; always 0.5 gives 0.25.
    """
    raise NotImplementedError
