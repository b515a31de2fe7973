"""Right solutions of the ops in ngram.py, written differently."""

import itertools
import math

import numpy as np

from tinyllm.testing.alternative import alternative


@alternative
def bigram_counts_by_a_loop(ids, vocab_size):
    counts = np.zeros((vocab_size, vocab_size), np.int64)
    for a, b in itertools.pairwise(ids.tolist()):
        counts[a, b] += 1
    return counts


@alternative
def bigram_counts_by_bincount(ids, vocab_size):
    pairs = ids[:-1].astype(np.int64) * vocab_size + ids[1:]
    return np.bincount(pairs, minlength=vocab_size**2).reshape(vocab_size, vocab_size)


@alternative
def bigram_counts_by_one_hot(ids, vocab_size):
    hot = (ids[:, None] == np.arange(vocab_size)).astype(np.int64)
    return hot[:-1].T @ hot[1:]


@alternative
def entropy_by_rows(p):
    terms = [-sum(v * math.log(v) for v in row if v > 0) for row in p.reshape(-1, p.shape[-1]).tolist()]
    return np.array(terms, p.dtype).reshape(p.shape[:-1])


@alternative
def entropy_by_nan_to_num(p):
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.nan_to_num(p * np.log(p)).sum(axis=-1)


@alternative
def entropy_by_masked_logarithm(p):
    logs = np.log(p, where=p > 0, out=np.zeros_like(p))
    return -np.einsum("...i,...i->...", p, logs)


@alternative
def perplexity_by_fsum(p):
    if (p == 0).any():
        return p.dtype.type(math.inf)
    return p.dtype.type(math.exp(math.fsum(-math.log(v) for v in p.tolist()) / max(p.size, 1)))


@alternative
def perplexity_by_geometric_mean(p):
    with np.errstate(divide="ignore"):
        return np.prod(p.astype(np.float64) ** (-1 / max(p.size, 1))).astype(p.dtype)


@alternative
def perplexity_by_bits(p):
    with np.errstate(divide="ignore"):
        bits = -np.log2(p.astype(np.float64)).sum() / max(p.size, 1)
    return (2**bits).astype(p.dtype)
