"""Lesson 28. Put your own code in place of `raise NotImplementedError`.

Then run `tinyllm check 28`.

What you are given must come back as it was. Numbers with a fraction are
float32.
"""

import numpy as np


def majority_vote(answers):
    """Choose for each question the answer that was given most often; equal
    answers have equal numbers.

    answers (N, K) ints, K answers to each of N questions -> winners (N,), of
    the type of answers, and shares (N,) float32, the share of a question's
    answers that are its winner. Of answers given equally often, the one that
    was given first wins.
    """
    raise NotImplementedError
