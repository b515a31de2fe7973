"""Lesson 39. Put your own code in place of `raise NotImplementedError`.

Then run `tinyllm check 39`.

What you are given must come back as it was. Results are of the type of w.
"""

import numpy as np


def prune_n_m(w, norms, n, m):
    """Keep the n best of each m weights, and set the others to 0.

    w (I, O); norms (I,), the sizes of the inputs -> (I, O). The inputs of each
    output are cut into groups of m in a row; the last group may be smaller, and
    keeps n weights, too, or all if it has fewer. The best weights of a group
    are those whose size times the size of their input is largest; of equal ones
    the first stay. 0 <= n <= m, and m is at least 1.
    """
    raise NotImplementedError
