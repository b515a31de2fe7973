"""Lesson 27. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 27`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.
"""

import numpy as np


def induction_score(weights, period):
    """Return the share of attention that a head gives to what followed the same
    token earlier.

    weights (..., T, T), a row for each query, over a text that begins again
    after `period` different tokens -> (...): the mean over the queries that
    have an earlier occurrence of their token, of the summed weights of all keys
    that follow one. Keys after the query count nothing, whatever their weights
    are. It is 1 for a perfect induction head, and 0 without such queries.
    """
    raise NotImplementedError
