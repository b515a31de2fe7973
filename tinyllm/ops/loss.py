"""Cross-entropy: how surprised the model is by the token that came, in nats."""

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.softmax import logsumexp


def kept_targets(logits, targets, ignore_index):
    """Which targets count: True or False, (...). Raises ValueError when one that counts is no token id."""
    if targets.shape != logits.shape[:-1]:
        shapes = f"{logits.shape} and {targets.shape}"
        raise ValueError(f"cross_entropy needs logits (..., V) and targets (...), got {shapes}")
    kept = targets != ignore_index
    outside = kept & ((targets < 0) | (targets >= logits.shape[-1]))
    if np.any(outside):
        allowed = f"0..{logits.shape[-1] - 1} and is not ignore_index ({ignore_index})"
        raise ValueError(f"cross_entropy: target {targets[outside].flat[0]} is outside {allowed}")
    return kept


@op
def cross_entropy(logits, targets, ignore_index=-100):
    """Average the surprise -log p(target) = lse - logit[target] over the targets that are not ignored.

    logits (..., V), targets (...) ints -> loss (), lse (...), the log-sum-exp of each row. The loss is 0 when
    every target is ignored. Raises ValueError when a target is neither in 0..V-1 nor ignore_index.
    """
    kept = kept_targets(logits, targets, ignore_index)
    lse = logsumexp(logits)
    surprise = lse[kept] - logits[kept, targets[kept]]
    return np.asarray(surprise.sum() / max(surprise.size, 1)), lse


@op
def cross_entropy_backward(dloss, logits, targets, lse, ignore_index=-100):
    """Carry a gradient back through cross_entropy: dlogits = (softmax(logits) - onehot) dloss / count.

    dloss (), logits (..., V), targets (...), lse (...) -> dlogits (..., V); rows of ignored targets are 0.
    """
    kept = kept_targets(logits, targets, ignore_index)
    dlogits = np.exp(logits - lse[..., None])
    dlogits[kept, targets[kept]] -= 1
    dlogits *= dloss / max(int(kept.sum()), 1)
    dlogits[~kept] = 0
    return dlogits
