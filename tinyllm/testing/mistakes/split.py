"""Mistakes in split and join."""

import numpy as np

from tinyllm.ops import join, split
from tinyllm.testing.mistake import mistake


@mistake("split", "every n-th channel in one part, where the parts are runs of channels")
def interleaves(x, n):
    return tuple(x[..., i::n].copy() for i in range(n))


@mistake("split", "the parts in reverse order")
def reverses(x, n):
    return split(x, n)[::-1]


@mistake("split", "parts cut from the flattened array, so that they mix rows")
def cuts_rows(x, n):
    shape = (*x.shape[:-1], x.shape[-1] // n)
    return tuple(part.reshape(shape) for part in np.split(x.flatten(), n))


@mistake("join", "the parts in reverse order")
def joins_backwards(parts):
    return join(parts[::-1])


@mistake("join", "channels taken from the parts in turn")
def deals(parts):
    return np.stack(parts, axis=-1).reshape(*parts[0].shape[:-1], -1 if parts[0].size else 0)


@mistake("join", "the parts one after another, each with all its rows")
def stacks(parts):
    rows = np.concatenate([part.reshape(-1) for part in parts])
    return rows.reshape(*parts[0].shape[:-1], len(parts) * parts[0].shape[-1])
