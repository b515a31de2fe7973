"""Mistakes in counting, entropy and perplexity."""

import numpy as np

from tinyllm.ops.ngram import bigram_counts, entropy, perplexity
from tinyllm.testing.mistake import mistake

count = bigram_counts.reference


@mistake("bigram_counts", "counts with rows and columns exchanged: counts[b, a] where b follows a")
def transposed(ids, vocab_size):
    return count(ids, vocab_size).T.copy()


@mistake("bigram_counts", "counts in which a pair that occurs often counts once: `counts[a, b] += 1`")
def lost_repeats(ids, vocab_size):
    counts = np.zeros((vocab_size, vocab_size), np.int64)
    counts[ids[:-1], ids[1:]] += 1
    return counts


@mistake("bigram_counts", "counts of every second pair only: the window must move by one token")
def every_second(ids, vocab_size):
    counts = np.zeros((vocab_size, vocab_size), np.int64)
    np.add.at(counts, (ids[: len(ids) // 2 * 2 : 2], ids[1::2]), 1)
    return counts


@mistake("bigram_counts", "counts of a text that closes into a ring, its last token followed by its first")
def ring(ids, vocab_size):
    counts = np.zeros((vocab_size, vocab_size), np.int64)
    np.add.at(counts, (ids, np.roll(ids, -1)), 1)
    return counts


@mistake("bigram_counts", "probabilities, each row divided by its sum, where counts belong")
def normalised(ids, vocab_size):
    counts = count(ids, vocab_size).astype(np.float64)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


@mistake("bigram_counts", "counts that start at 1, as if every pair had been seen once before")
def smoothed(ids, vocab_size):
    return count(ids, vocab_size) + 1


@mistake("bigram_counts", "counts of pairs with one token between them")
def skipping_one(ids, vocab_size):
    counts = np.zeros((vocab_size, vocab_size), np.int64)
    np.add.at(counts, (ids[:-2], ids[2:]), 1)
    return counts


@mistake("bigram_counts", "counts without the last pair of the text")
def without_the_last_pair(ids, vocab_size):
    return count(ids[:-1], vocab_size)


@mistake("entropy", "entropy that is NaN where a probability is 0, though what never happens adds nothing")
def nan_for_zero(p):
    return -(p * np.log(p)).sum(axis=-1)


@mistake("entropy", "entropy in bits, by the logarithm to base 2, where nats are asked for")
def in_bits(p):
    return entropy.reference(p) / p.dtype.type(np.log(2))


@mistake("entropy", "the sum of p ln p, which is negative: the minus is missing")
def negative(p):
    return -entropy.reference(p)


@mistake("entropy", "entropy along the first axis, where each row is a distribution of its own")
def along_the_first_axis(p):
    return entropy.reference(np.moveaxis(p, 0, -1))


@mistake("entropy", "one entropy of the whole array, where there is one for each row")
def of_the_whole_array(p):
    return entropy.reference(p.reshape(-1))


@mistake("entropy", "the mean of -p ln p, where the sum belongs")
def mean_of_terms(p):
    return entropy.reference(p) / p.dtype.type(p.shape[-1])


@mistake("entropy", "the sum of -ln p, in which every surprise counts the same, however rare it is")
def unweighted(p):
    return -np.log(np.where(p > 0, p, 1)).sum(axis=-1)


@mistake("entropy", "entropy divided by ln n, its largest value")
def relative(p):
    return entropy.reference(p) / p.dtype.type(np.log(max(p.shape[-1], 2)))


@mistake("perplexity", "the mean surprise itself: exp is missing")
def mean_surprise(p):
    return -np.log(p).sum() / max(p.size, 1)


@mistake("perplexity", "2 to the power of the mean surprise in nats: base and logarithm must agree")
def wrong_base(p):
    return p.dtype.type(2) ** (-np.log(p).sum() / max(p.size, 1))


@mistake("perplexity", "one over the mean probability: the mean must be taken of logarithms")
def of_the_mean(p):
    return 1 / p.mean() if p.size else p.dtype.type(1)


@mistake("perplexity", "exp of the mean logarithm, without the minus: the mean probability per token")
def without_minus(p):
    return 1 / perplexity.reference(p)


@mistake("perplexity", "exp of the whole surprise, not of its mean over the tokens")
def of_the_sum(p):
    return np.exp(-np.log(p).sum())


@mistake("perplexity", "the mean of 1/p, which one rare token rules: average the logarithms first")
def mean_of_inverses(p):
    return (1 / p).mean() if p.size else p.dtype.type(1)


@mistake("perplexity", "a perplexity that leaves out what had probability 0, though it should be infinite")
def skips_the_impossible(p):
    return perplexity.reference(p[p > 0])


@mistake("perplexity", "the surprise divided by n - 1, the number of pairs, where n tokens were predicted")
def one_too_few(p):
    return np.exp(-np.log(p).sum() / max(p.size - 1, 1))
