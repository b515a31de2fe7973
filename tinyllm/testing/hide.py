"""Provide test cases, common mistakes and correct variants for hiding tokens and spans."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.rng import Random
from tinyllm.testing.arrays import cases, ints, leading, seeds
from tinyllm.testing.edits import mistake, variant

lengths = st.sampled_from((2, 1, 3, 5, 9, 40))


@cases("mask_tokens")
def mask_tokens(draw):
    """Draw texts and two random numbers per token; some numbers are exactly 0.8, 0.9 or the rate."""
    shape, rate = (*draw(leading), draw(lengths)), draw(st.sampled_from((0.5, 0.15, 0.9)))
    rng = Random(draw(seeds), "masks")
    draws, how = rng.uniform(shape), rng.uniform(shape)
    if draw(st.booleans()):
        draws[..., 1:] *= rate  # so that these are hidden
        draws[..., :1], how[..., 2:3], how[..., -1:], how[..., 1:2] = rate, 0.82, 0.9, 0.8
    tokens, other = (ints(draw, shape, 21).astype(np.int64) for _ in range(2))  # as np.full makes, too
    return tokens, draws, how, other, 20, rate


@cases("corrupt_spans")
def corrupt_spans(draw):
    """Draw a text, the lengths of its kept and hidden spans, and sentinel ids for the gaps: 99, 98, ..."""
    count, rng = draw(st.sampled_from((1, 2, 3, 6))), Random(draw(seeds), "spans")
    kept, hidden = (rng.integers(5, count) for _ in range(2))
    tokens = ints(draw, (int(kept.sum() + hidden.sum()),), 50).astype(np.int64)
    return tokens, kept, hidden, 99 - np.arange(count + 1)


CHANGED = "np.where(how < 0.8, mask, np.where(how < 0.9, other, tokens))"
TARGETS = "np.where(chosen, tokens, IGNORED)"
SPANS = "zip(marks[:-1], pieces[0::2], pieces[1::2], strict=True)"

mistake("mask_tokens", "every hidden token replaced by mask, none by another token or by itself", CHANGED,
        "mask")
mistake("mask_tokens", "targets only where the token became mask: the other 20 % count as well", TARGETS,
        "np.where(chosen & (how < 0.8), tokens, IGNORED)")
mistake("mask_tokens", "targets only where the token changed: those that stay count as well", TARGETS,
        "np.where(chosen & (how < 0.9), tokens, IGNORED)")
mistake("mask_tokens", "the shares of the whole text, not of the hidden tokens: rate, then 0.8 of it",
        CHANGED, "np.where(draws < 0.8 * rate, mask, np.where(draws < 0.9 * rate, other, tokens))")
mistake("mask_tokens", "the hidden tokens left, and all others hidden", "draws < rate", "draws >= rate")
mistake("corrupt_spans", "the same sentinel for every span", SPANS,
        "zip(marks[:1] * len(kept), pieces[0::2], pieces[1::2], strict=True)")
mistake("corrupt_spans", "a sentinel for every hidden token, not for every span", "read += [stays, mark]",
        "read += [stays, mark.repeat(len(goes))]")


@variant("mask_tokens")
def mask_tokens_in_steps(tokens, draws, how, other, mask, rate):
    seen, targets = np.array(tokens), np.full(tokens.shape, -100)
    for at in np.argwhere(draws < rate).tolist():
        at = tuple(at)
        targets[at] = tokens[at]
        if how[at] < 0.8:
            seen[at] = mask
        elif how[at] < 0.9:
            seen[at] = other[at]
    return seen, targets


@variant("corrupt_spans")
def corrupt_spans_by_a_loop(tokens, kept, hidden, sentinels):
    read, written, place = [], [], 0
    for keep, hide, mark in zip(kept.tolist(), hidden.tolist(), sentinels.tolist(), strict=False):
        read += [*tokens[place : place + keep].tolist(), mark]
        written += [mark, *tokens[place + keep : place + keep + hide].tolist()]
        place += keep + hide
    return np.array(read, np.int64), np.array([*written, sentinels[-1]], np.int64)
