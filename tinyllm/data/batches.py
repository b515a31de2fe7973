"""Batches: windows of the token stream, chosen by the seed and the step alone.

Nothing is remembered between steps, so a run that resumes at step 1000 sees what it would have seen.
"""

import numpy as np

from tinyllm.errors import UserError
from tinyllm.rng import Random


def get_batch(tokens, seed, step, batch, context):
    """Draw random windows: tokens (n,) -> x, y int32 (B, T); y is what comes after each token of x.

    A pure function of its arguments. Every window is equally likely. Raises UserError if there are too few
    tokens for one window.
    """
    starts = Random(seed, "batch", step).integers(_check(tokens, batch, context), batch)
    return _windows(tokens, starts, context)


def eval_batches(tokens, context, batch, limit):
    """Yield the same windows every time, spread evenly over the text: x, y int32 (b, T), b at most `batch`.

    There are `limit` windows in all, or as many as fit side by side if those are fewer: no token is asked for
    twice. Raises UserError if there are too few tokens for one window.
    """
    _check(tokens, batch, context)
    if limit < 1:
        raise UserError(f"evaluation needs at least 1 window, got {limit}")
    fit = (len(tokens) - 1) // context
    n = min(limit, fit)
    starts = np.arange(n) * fit // n * context
    for i in range(0, n, batch):
        yield _windows(tokens, starts[i : i + batch], context)


def _check(tokens, batch, context):
    """Return how many places a window can start at."""
    if batch < 1 or context < 1:
        raise UserError(f"batch and context must be at least 1, got batch {batch} and context {context}")
    if len(tokens) <= context:
        raise UserError(
            f"the text has {len(tokens)} tokens, and a context of {context} needs at least {context + 1}: "
            f"take more text or a smaller context"
        )
    return len(tokens) - context


def _windows(tokens, starts, context):
    """Cut out context + 1 tokens at each start; x is all but the last of them, y all but the first."""
    window = tokens[starts[:, None] + np.arange(context + 1)].astype(np.int32)  # (B, T + 1)
    return np.ascontiguousarray(window[:, :-1]), np.ascontiguousarray(window[:, 1:])
