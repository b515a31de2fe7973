"""What every family checks before it computes: its sizes, its tokens, and where the tokens stand."""

import numpy as np

from tinyllm.errors import UserError


def check_sizes(config, names):
    """Raise UserError unless the settings of these names are whole numbers from 1 to 2^24."""
    for name in names:
        size = getattr(config, name)
        if not isinstance(size, (int, np.integer)) or isinstance(size, bool) or not 1 <= size <= 2**24:
            raise UserError(f"{name} must be a whole number from 1 to {2**24}, got {size!r}")


def check_tokens(tokens, vocab_size):
    """Return tokens as an array (B, T) of ids.

    (B, T) or (T,), ints -> (B, T). Raises UserError when there are none, or some outside the vocabulary,
    TypeError when they are no whole numbers.
    """
    tokens = np.asarray(tokens)
    if tokens.ndim == 1:
        tokens = tokens[None]
    if tokens.ndim != 2 or tokens.size == 0:
        raise UserError(f"tokens are (B, T) or (T,), with at least one token; got shape {tokens.shape}")
    if tokens.dtype.kind not in "iu":
        raise TypeError(f"tokens are whole numbers, got an array of {tokens.dtype}")
    for worst in (tokens.min(), tokens.max()):
        if not 0 <= worst < vocab_size:
            raise UserError(f"token {worst} is outside of the model's vocabulary of {vocab_size}")
    return tokens


def positions_of(tokens, cache, context):
    """Say where each token stands, behind what its row's cache has seen.

    tokens (B, T), a list of KVCache or None -> positions int64 (B, T). Raises UserError when the context
    does not hold them all.
    """
    past = cache[0].lengths if cache else np.zeros(len(tokens), np.int64)
    positions = past[:, None] + np.arange(tokens.shape[1])
    total = positions.max() + 1
    if total > context:
        raise UserError(f"{total} tokens exceed the model's context of {context}: give fewer at a time")
    return positions


def check_targets(targets, tokens_shape):
    """Return targets as an array (B, T). Raises ValueError unless there is one for each token."""
    targets = np.atleast_2d(targets)
    if targets.shape != tuple(tokens_shape):
        raise ValueError(f"targets {targets.shape} must have the shape of tokens {tuple(tokens_shape)}")
    return targets
