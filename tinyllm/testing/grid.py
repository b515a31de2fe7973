"""Provide test cases, common mistakes and correct variants for models that are divided over processes."""

import itertools

import numpy as np
from hypothesis import strategies as st

from tinyllm import ops
from tinyllm.testing.arrays import cases, few, floats, sizes
from tinyllm.testing.bounds import BOUNDS, of_terms
from tinyllm.testing.edits import mistake, variant

processes = st.sampled_from((2, 1, 3, 4, 5))


@cases("own_columns")
def own_columns(draw):
    """Draw columns, a process and a number of blocks; often the processes cannot get equal parts."""
    size, blocks = draw(processes), draw(st.sampled_from((3, 1, 2)))
    return draw(sizes) * blocks, draw(st.integers(0, size - 1)), size, blocks


@cases("column_row_products")
def column_row_products(draw):
    """Draw an input, two matrices and a number of processes; some processes may have no columns."""
    rows, inner, hidden, outer = draw(few), draw(few), draw(sizes), draw(few)
    return (*(floats(draw, shape) for shape in ((rows, inner), (inner, hidden), (hidden, outer))),
            draw(processes))


@cases("ring_sends")
def ring_sends(draw):
    """Draw a number of processes."""
    return (draw(st.sampled_from((4, 1, 2, 3, 5, 9))),)


@cases("pipeline_order")
def pipeline_order(draw):
    """Draw a number of stages, of pieces, often fewer than stages, and the kind of schedule."""
    stages, pieces = draw(st.sampled_from((3, 1, 2, 4, 6))), draw(st.sampled_from((4, 1, 2, 3, 8, 0)))
    return stages, pieces, draw(st.booleans())


BOUNDS["column_row_products"] = of_terms(lambda results, x, a, b, size: (x.shape[1] + len(b) + 8) * (
    ops.column_row_products.reference(np.abs(x), np.abs(a), np.abs(b), size)))

for name, said, *changes in (
    ("own_columns", "the first columns of q, k and v together, not some of each",
     "(np.arange(blocks, dtype=np.int64)[:, None] * m + own).reshape(-1)",
     "np.arange(n * rank // size, n * (rank + 1) // size)"),
    ("own_columns", "parts of n // size columns, which leave the last columns to nobody",
     "m * rank // size", "m // size * rank", "m * (rank + 1) // size", "m // size * (rank + 1)"),
    ("own_columns", "every size-th column: neighbours belong to one head",
     "np.arange(m * rank // size, m * (rank + 1) // size, dtype=np.int64)", "np.arange(rank, m, size)"),
    ("column_row_products", "the whole product in each process",
     "matmul(matmul(x, a[:, columns]), b[columns])", "matmul(matmul(x, a), b)"),
    ("column_row_products", "the first rows of b in every process", "b[columns]", "b[: len(columns)]"),
    ("ring_sends", "the reduction alone: only one process has the sum of a slice", "2 * (size - 1)",
     "size - 1"),
    ("ring_sends", "slices against the direction of the ring", "ranks - steps[:, None]",
     "ranks + steps[:, None]"),
    ("ring_sends", "the own slice in every step, not what was added last", "ranks - steps[:, None]",
     "ranks + 0 * steps[:, None]"),
    ("ring_sends", "one step too many", "2 * (size - 1)", "2 * size - 1"),
    ("pipeline_order", "GPipe for 1F1B", "pieces if gpipe else min(stages - 1 - s, pieces)", "pieces"),
    ("pipeline_order", "as many passes ahead in the first stage as in the last", "stages - 1 - s",
     "stages - 1"),
    ("pipeline_order", "one forward pass more ahead than the stages behind need", "stages - 1 - s",
     "stages - s"),
    ("pipeline_order", "backward passes that begin with the last piece", "ahead - p", "p - 1 - pieces"),
):
    mistake(name, said, *changes)


@variant("own_columns")
def own_columns_by_cutting(n, rank, size, blocks=1):
    blocks_of_numbers = np.arange(n).reshape(blocks, n // blocks)
    edges = [blocks_of_numbers.shape[1] * i // size for i in (rank, rank + 1)]
    return blocks_of_numbers[:, edges[0] : edges[1]].reshape(-1)


@variant("column_row_products")
def column_row_products_by_slices(x, a, b, size):
    edges = [a.shape[1] * i // size for i in range(size + 1)]
    return np.stack([x @ a[:, i:j] @ b[i:j] for i, j in itertools.pairwise(edges)])


@variant("ring_sends")
def ring_sends_by_passing_on(size):
    rows = [list(range(size))]
    while len(rows) <= 2 * (size - 1):
        rows.append(rows[-1][-1:] + rows[-1][:-1])
    return np.array(rows[:-1], np.int64).reshape(-1, size)


@variant("pipeline_order")
def pipeline_order_by_two_counters(stages, pieces, gpipe=False):
    rows = []
    for s in range(stages):
        forward, backward, row = 0, 0, []
        while backward < pieces:
            limit = pieces if gpipe else stages - s  # the activations that it may keep
            if forward < pieces and forward - backward < limit:
                forward += 1
                row.append(forward)
            else:
                backward += 1
                row.append(-backward)
        rows.append(row)
    return np.array(rows, np.int64).reshape(stages, 2 * pieces)
