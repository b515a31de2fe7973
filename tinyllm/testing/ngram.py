"""Provide test cases, common mistakes and correct variants for counts, entropy, perplexity and pass@k."""

import math

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import axis, cases, floats, ints, leading, scores, sizes
from tinyllm.testing.bounds import BOUNDS, EPS, of_terms
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.relations import run_spec

lengths = axis(2, 1, 3, 0, 5, 9, 40, 200)


@cases("bigram_counts")
def bigram_counts(draw):
    """Draw the ids of a text, and the size of its vocabulary."""
    vocab = draw(st.sampled_from((2, 1, 3, 7, 20)))
    return ints(draw, (draw(lengths),), vocab), vocab


@cases("entropy")
def distributions(draw):
    """Draw rows of probabilities; some probabilities are 0 or 1."""
    x = scores(draw, (*draw(leading), draw(sizes.filter(bool))), shares=(0, 0, 0.5, 0.9))
    return (run_spec("softmax", (x,)),)


@cases("perplexity")
def probabilities(draw):
    """Draw a model's probabilities for the tokens of a text; some are 0."""
    p = np.exp(-np.abs(floats(draw, (draw(lengths),), layouts=("plain", "every second"))))
    return (np.where(p > 0.99, np.float32(0), p) if draw(st.integers(0, 5)) == 5 else p,)


BOUNDS |= {
    "perplexity": of_terms(lambda y, p: np.where(  # the error of the mean of -ln p, times the perplexity
        np.isfinite(y[0]), (8 + (p.size + 4) * np.abs(np.log(p)).sum() / max(p.size, 1)) * y[0], 0)),
    "entropy": of_terms(lambda results, p: (p.shape[-1] + 8) * (results[0] + EPS * p.shape[-1])),
}

PAIRS = "(ids[:-1], ids[1:])"

mistake("bigram_counts", "counts with rows and columns exchanged: counts[b, a] where b follows a", PAIRS,
        "(ids[1:], ids[:-1])")
mistake("bigram_counts", "counts of every second pair only: the window must move by one token", PAIRS,
        "(ids[: len(ids) // 2 * 2 : 2], ids[1::2])")
mistake("bigram_counts", "counts of a text that closes into a ring, its last token followed by its first",
        PAIRS, "(ids, np.roll(ids, -1))")
mistake("bigram_counts", "probabilities, each row divided by its sum, where counts belong", "return counts",
        "return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)")
mistake("bigram_counts", "counts of pairs with one token between them", PAIRS, "(ids[:-2], ids[2:])")
mistake("entropy", "entropy that is NaN where a probability is 0, though what never happens adds nothing",
        "np.where(p > 0, p, 1)", "p")
mistake("entropy", "entropy divided by ln n, its largest value", "(p * -np.log(safe)).sum(axis=-1)",
        "(p * -np.log(safe)).sum(axis=-1) / math.log(max(p.shape[-1], 2))")
mistake("perplexity", "one over the mean probability: the mean must be taken of logarithms", "",
        "return 1 / p.mean() if p.size else p.dtype.type(1)")
mistake("perplexity", "the mean of 1/p, which one rare token rules: average the logarithms first", "",
        "return (1 / p).mean() if p.size else p.dtype.type(1)")
mistake("perplexity", "the root of a product, which a long text makes 0: add logarithms", "",
        "if p.size:\n    with np.errstate(all='ignore'):\n        return 1 / np.prod(p) ** (1 / p.size)")
mistake("perplexity", "a perplexity that leaves out what had probability 0, though it should be infinite", "",
        "p = p[p > 0]")
mistake("perplexity", "surprises weighed by their probabilities, as in an entropy, not a plain mean",
        "-np.log(p).sum() / max(p.size, 1)", "-(p * np.log(p)).sum()")


variant("bigram_counts")(lambda ids, vocab_size: np.bincount(ids[:-1].astype(np.int64) * vocab_size + ids[1:],
                                                             minlength=vocab_size**2).reshape(vocab_size, -1))


@variant("entropy")
def entropy_by_rows(p):
    terms = [-sum(v * math.log(v) for v in row if v > 0) for row in p.reshape(-1, p.shape[-1]).tolist()]
    return np.array(terms, p.dtype).reshape(p.shape[:-1])


# A geometric mean:
variant("perplexity")(lambda p: np.prod(p.astype(np.float64) ** (-1 / max(p.size, 1))).astype(p.dtype))


@cases("pass_at_k")
def pass_at_k(draw):
    """Draw for a few problems how many of n samples passed, and k from 1 to n."""
    n = draw(st.sampled_from((5, 10, 1, 2, 20, 200)))
    k = draw(st.sampled_from([k for k in (2, 1, 3, n // 2, n) if 1 <= k <= n]))
    some = st.one_of(st.sampled_from((0, 1, n)), st.integers(0, n))
    return draw(st.lists(some, min_size=1, max_size=6)), n, k


BOUNDS["pass_at_k"] = lambda args, results: (1e-9,)

SHARE = "1 - math.comb(n - c, k) / math.comb(n, k)"

mistake("pass_at_k", "1 - (1 - passed/n)^k, which puts every drawn sample back and is too small", SHARE,
        "1 - (1 - c / n) ** k")
mistake("pass_at_k", "k times the share that passes, at most 1: chances of different samples do not add",
        SHARE, "min(1.0, k * c / n)")
mistake("pass_at_k", "the chance that all k samples pass, not at least one", SHARE,
        "math.comb(c, k) / math.comb(n, k)")
mistake("pass_at_k", "1 for a problem that any of the n samples solves: that is pass@n", SHARE,
        "float(c > 0)")
mistake("pass_at_k", "the first k samples taken to be those that passed", SHARE, "float(c >= k)")
mistake("pass_at_k", "one estimate for all samples together, as if they were of one problem", "",
        "passed, n = [sum(passed)], n * len(passed)")


# 1 minus the product of the chances that each of k samples fails, averaged over problems:
variant("pass_at_k")(lambda passed, n, k: float(np.mean(
    [1 - np.prod([max(n - c - i, 0) / (n - i) for i in range(k)]) for c in passed])))
