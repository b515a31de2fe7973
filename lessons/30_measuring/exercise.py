"""Lesson 30. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 30`.
"""

import re
import string
from collections import Counter
from statistics import NormalDist


def exact_match(answer, truth):
    """Return 1.0 if two answers have the same words in the same order, else
    0.0.

    Words are compared in small letters; ASCII punctuation is deleted, then the
    words a, an and the are left out, as is white space.
    """
    raise NotImplementedError


def token_f1(answer, truth):
    """Return how many words two answers share, from 0 to 1: twice the shared
    words / all words of both.

    Words are those of `exact_match`; one is shared as often as both answers
    have it. This is the harmonic mean of precision, shared / words of the
    answer, and recall, shared / words of the truth. Two answers without words
    get 1.0.
    """
    raise NotImplementedError


def wilson_interval(right, n, level=0.95):
    """Return an interval for the true share of right answers, after `right` of
    n answers were right.

    With p = right / n, it holds all true shares q from which p is at most z
    standard errors away, where the standard error is that of q, not of p: the
    square root of q (1 - q) / n. A standard normal number lies between -z and
    z with probability `level`: z is 1.96 for 0.95. Returns (low, high).
    """
    raise NotImplementedError
