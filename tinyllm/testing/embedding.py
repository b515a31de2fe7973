"""Provide test cases, common mistakes and correct variants for the op embedding."""

import numpy as np

from tinyllm.testing.arrays import cases, floats, ints, leading, sizes
from tinyllm.testing.bounds import BOUNDS, of_sizes
from tinyllm.testing.edits import mistake, variant


@cases("embedding")
def embedding(draw):
    """Draw an embedding table and ids; most ids occur several times."""
    vocab, width, shape = draw(sizes), draw(sizes), (*draw(leading), draw(sizes))
    if not vocab:
        shape = (*shape, 0)  # an empty table has no ids
    return floats(draw, (vocab, width)), ints(draw, shape, vocab)


BOUNDS["embedding_backward"] = of_sizes("embedding_backward", lambda ids, **_: 1 + ids.size)

mistake("embedding", "the batch read as one flat list of ids", "w[ids]", "w[ids.ravel()]")
mistake("embedding", "numbers of the table, not rows: np.take needs axis=0", "w[ids]", "np.take(w, ids)")
mistake("embedding", "the sum of the looked up rows, one vector for all ids", "w[ids]", "w[ids].sum(axis=-2)")
mistake("embedding", "one-hot vectors that are not multiplied by the table", "w[ids]",
        "(ids[..., None] == np.arange(len(w))).astype(w.dtype)")
mistake("embedding", "columns of the table looked up, not its rows", "w[ids]", "w[:, ids]")


variant("embedding")(lambda w, ids: (
    (ids[..., None] == np.arange(len(w))).astype(np.float64) @ w).astype(w.dtype))
