"""Mistakes in embedding."""

import numpy as np

from tinyllm.ops import embedding
from tinyllm.ops.shapes import rows
from tinyllm.testing.mistake import mistake


@mistake("embedding", "rows counted from 1")
def counts_from_one(w, ids):
    return w[ids - 1]


@mistake("embedding", "rows multiplied by sqrt(C)")
def scales(w, ids):
    return embedding(w, ids) * w.shape[1] ** 0.5


@mistake("embedding", "columns of the table where rows belong")
def takes_columns(w, ids):
    return w.T[ids]


@mistake("embedding", "the batch read as one flat list of ids")
def flattens(w, ids):
    return w[ids.ravel()]


def scatter(dy, ids, vocab_size, how):
    """A table of zeros into which `how` writes."""
    dw = np.zeros((vocab_size, dy.shape[-1]), dy.dtype)
    how(dw, ids.ravel(), rows(dy))
    return dw


@mistake("embedding_backward", "dw[ids] = dy, or dw[ids] += dy, which both keep only the last of equal ids")
def overwrites(dy, ids, vocab_size):
    return scatter(dy, ids, vocab_size, lambda dw, i, d: dw.__setitem__(i, d))


@mistake("embedding_backward", "the gradients of equal ids averaged, not summed")
def averages_repeats(dy, ids, vocab_size):
    dw = scatter(dy, ids, vocab_size, lambda dw, i, d: np.add.at(dw, i, d))
    return dw / np.maximum(np.bincount(ids.ravel(), minlength=vocab_size), 1).astype(dw.dtype)[:, None]


@mistake("embedding_backward", "a table that is only as long as the largest id")
def short_table(dy, ids, vocab_size):
    return scatter(dy, ids, int(ids.max(initial=-1)) + 1, lambda dw, i, d: np.add.at(dw, i, d))


@mistake("embedding", "ids counted from the end of the table")
def from_the_end(w, ids):
    return w[len(w) - 1 - ids]


@mistake("embedding", "the sum of the looked up rows, one vector for all ids")
def adds_them_up(w, ids):
    return embedding(w, ids).sum(axis=-2)


@mistake("embedding", "one-hot vectors that are not multiplied by the table")
def one_hot(w, ids):
    return (ids[..., None] == np.arange(len(w))).astype(w.dtype)


@mistake("embedding", "rows scaled to length 1")
def unit_rows(w, ids):
    y = embedding(w, ids)
    return y / np.maximum(np.sqrt((y * y).sum(axis=-1, keepdims=True)), w.dtype.type(1e-30))
