"""Define embedding: look up rows of a table, which has one row of numbers per token id."""

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array, ids_below, rows


@op(grads=("w",), shapes="w (V, C)")
def embedding(w: Array, ids: Array) -> Array:
    """Look up the row of the table for each id.

    w (V, C), ids (...) ints -> (..., C). Raises IndexError when an id is outside 0..V-1.
    """
    ids_below("embedding", ids, w.shape[0])
    return w[ids]


@op(shapes="dy (..., C), ids (...)")
def embedding_backward(dy: Array, ids: Array, vocab_size: int) -> Array:
    """Sum the gradients of all tokens with one id, in order of occurrence, into the id's row of dw.

    Rows of ids that do not occur are 0. Raises IndexError when an id is outside 0..vocab_size-1.
    """
    ids_below("embedding", ids, vocab_size)
    dw = np.zeros((vocab_size, dy.shape[-1]), dy.dtype)
    np.add.at(dw, ids.reshape(-1), rows(dy))  # `dw[ids] += dy` would use only the last of several equal ids
    return dw
