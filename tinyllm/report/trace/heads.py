"""What an attention head does, in a few numbers, and how to say it."""

from dataclasses import dataclass

import numpy as np

from tinyllm.report.trace.spell import visible


@dataclass(frozen=True)
class Head:
    """Means over all tokens of one head's weights, (T, T)."""

    back: float  # how many tokens back it looks
    first: float  # how much of its weight lies on the text's first token
    itself: float  # and on the token itself
    previous: float  # and on the one before it; over all tokens but the first


def head_facts(weights):
    """Sum up where a head looks: (T, T), rows sum to 1 -> Head."""
    T = len(weights)
    distance = np.arange(T)[:, None] - np.arange(T)
    return Head(
        back=float((weights * distance).sum(axis=1).mean()),
        first=float(weights[:, 0].mean()),
        itself=float(np.diagonal(weights).mean()),
        previous=float(np.diagonal(weights, -1).mean()) if T > 1 else 0.0,
    )


def say(head):
    """A head's facts in words -> two phrases."""
    return (f"{head.back:.1f} tokens back on average",
            f"first {head.first:.0%}, previous {head.previous:.0%}, self {head.itself:.0%}")  # fmt: skip


def strongest(trace, layer, head, position):
    """The token that a head gives most weight -> (its index, how it is written, the weight)."""
    row = trace.attention[layer][head, position]
    best = int(row.argmax())
    return best, visible(trace.names[trace.ids[best]]), float(row[best])
