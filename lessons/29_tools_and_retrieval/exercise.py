"""Lesson 29. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 29`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.
"""

import numpy as np


def bm25_scores(documents, query, k1=1.5, b=0.75):
    """Score how well each document fits a query: rare words count more, long
    documents less.

    documents: N lists of words or tokens, query: a list of them -> (N,)
    float32, the sum over the words of the query, each as often as it occurs
    there, of idf times a tf that is damped as the lesson says, with
    idf = ln(1 + (N - df + 0.5) / (df + 0.5)). tf: how often the document has
    the word; df: how many documents have it. A word that a document lacks
    adds 0.
    """
    raise NotImplementedError
