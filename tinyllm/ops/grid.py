"""Divide a model over processes: which numbers each keeps, what it sends, in which order it computes."""

import numpy as np

from tinyllm.ops.matmul import matmul
from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op(outputs=("columns",), grads=())
def own_columns(n: int, rank: int, size: int, blocks: int = 1) -> Array:
    """Choose which of n columns process `rank` of `size` keeps -> int64 array, in increasing order.

    The columns are `blocks` equal blocks, such as those of queries, keys and values. Of each block with m
    columns, a process keeps columns m * rank // size up to, but without, m * (rank + 1) // size. Raises
    ValueError if n is not a multiple of `blocks`, or there is no such process.
    """
    if n % blocks or not 0 <= rank < size:
        raise ValueError(f"own_columns needs a multiple of {blocks} and a rank below {size}, got {n}, {rank}")
    m = n // blocks
    own = np.arange(m * rank // size, m * (rank + 1) // size, dtype=np.int64)
    return (np.arange(blocks, dtype=np.int64)[:, None] * m + own).reshape(-1)


@op(outputs=("parts",), grads=(), shapes="x (N, I), a (I, H), b (H, O)")
def column_row_products(x: Array, a: Array, b: Array, size: int) -> Array:
    """Compute the parts of x @ a @ b that `size` processes compute without a message -> (size, N, O).

    Process r keeps its own columns of a (see `own_columns`) and the rows of b with the same numbers. The sum
    of all parts is the product. (Shoeybi et al., "Megatron-LM", 2019, section 3.)
    """
    own = [own_columns(a.shape[1], rank, size) for rank in range(size)]
    return np.stack([matmul(matmul(x, a[:, columns]), b[columns]) for columns in own])


@op(outputs=("slices",), grads=())
def ring_sends(size: int) -> Array:
    """Plan the sum of an array over a ring of processes -> int64 (2 * (size - 1), size), numbers of slices.

    The array is cut into `size` slices. In step s, process r sends slice [s, r] to process r + 1, and the
    last process to process 0. In the first size - 1 steps, a process adds what it receives to its own slice.
    It first sends the slice of its own rank, and then what it added last. After that, one process has the sum
    of each slice. In the other steps, a process puts what it receives in place of its own slice, and passes
    it on. So each process sends 2 (size - 1) / size of the array. (Patarasuk and Yuan, "Bandwidth optimal
    all-reduce algorithms", 2009.)
    """
    steps, ranks = np.arange(2 * (size - 1), dtype=np.int64), np.arange(size, dtype=np.int64)
    return (ranks - steps[:, None]) % size


@op(outputs=("order",), grads=())
def pipeline_order(stages: int, pieces: int, gpipe: bool = False) -> Array:
    """Plan what each stage of a pipeline computes, step by step -> int64 (stages, 2 * pieces).

    p stands for the forward pass of piece p, counted from 1, and -p for its backward pass; in each row both
    are in the order of the pieces. Stage s begins with stages - 1 - s forward passes, or with all pieces if
    there are fewer. Then each forward pass is followed by a backward pass (1F1B), and the backward passes
    that are left come last. So stage s keeps the activations of at most stages - s pieces. With `gpipe`, all
    forward passes come first. (Narayanan et al., "Megatron-LM", 2021, section 2.2; Huang et al., "GPipe",
    2019.)
    """
    order = np.zeros((stages, 2 * pieces), np.int64)
    for s in range(stages):
        ahead = pieces if gpipe else min(stages - 1 - s, pieces)
        steps = [*range(1, ahead + 1)]
        for p in range(ahead + 1, pieces + 1):
            steps += [p, ahead - p]
        order[s] = steps + [-p for p in range(pieces - ahead + 1, pieces + 1)]
    return order
