"""Lesson 21. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 21`.

What you are given must come back as it was.
"""

import numpy as np


def answer_targets(rows, begins, ends):
    """Return what a model should write after each token, if only the answer
    in each row counts.

    rows (B, T + 1) ints; begins, ends (B,) ints, the positions of the answer's
    first token, and of the first token after it -> targets (B, T).
    """
    raise NotImplementedError
