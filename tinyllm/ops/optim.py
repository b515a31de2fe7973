"""Define the arithmetic of training: clip gradients, update weights, schedule the learning rate."""

import math
from typing import Any

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


def check_step(w: Array, g: Array, m: Array, v: Array, step: int, *settings: Any) -> None:
    """Raise ValueError unless step is a whole number of at least 1."""
    if step < 1 or step % 1:
        raise ValueError(f"needs a whole step >= 1, got {step}")


def check_limit(grads: list[Array], norm: float, limit: float) -> None:
    """Raise ValueError when the limit is negative."""
    if limit < 0:
        raise ValueError(f"needs a limit of at least 0, got {limit}")


@op(shapes="w (...), g (...), m (...), v (...)", check=check_step, mutates=("w", "m", "v"))
def adamw_step(w: Array, g: Array, m: Array, v: Array, step: int, lr: float, beta1: float = 0.9,
               beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0,
               grad_scale: float = 1.0) -> None:
    """Do one step of AdamW: move weights against the mean gradient divided by its usual size, and decay them.

    w, g, m, v of one shape; w, m and v are changed in place; step counts from 1. m is the running mean of the
    gradient, v the running mean of its square. Both start at 0 and so are too small at first: dividing by 1 -
    beta^step corrects that. The decay acts on the weights as they were, by lr * weight_decay, not through the
    gradient. The gradient is first multiplied by grad_scale, which clips it without another pass. Raises
    ValueError when shapes differ or step < 1. (Loshchilov and Hutter 2019, algorithm 2.)
    """
    g = g * float(grad_scale)
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g * g
    m_hat = m / (1 - beta1**step)
    v_hat = v / (1 - beta2**step)
    w -= lr * weight_decay * w
    w -= lr * m_hat / (np.sqrt(v_hat) + eps)


@op
def grad_norm(grads: list[Array]) -> float:
    """Compute the length of all gradients as one vector: the square root of the sum of all squares.

    grads: list of arrays -> float. Squares are summed in float64, where they cannot overflow.
    """
    return math.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in grads))


@op(check=check_limit)
def clip_grads(grads: list[Array], norm: float, limit: float) -> list[Array]:
    """Shorten a list of gradients to length `limit` when their norm is greater, keeping the direction.

    grads: list of arrays, norm: their joint length -> new list. If nothing is clipped, the new list may
    hold the same arrays. Raises ValueError when the limit is negative. (Pascanu, Mikolov and Bengio 2013,
    algorithm 1.)
    """
    if not norm > limit:
        return list(grads)
    scale = float(limit) / float(norm)
    return [np.asarray(g * scale) for g in grads]


@op
def lr_schedule(step: int, steps: int, lr: float, warmup: int, min_lr_ratio: float) -> float:
    """Compute the learning rate of a step: a linear warm-up, then a fall along half a cosine.

    step: counted from 0, steps: the total -> float. Step i of the warm-up gets lr (i + 1) / (warmup + 1).
    Step number `warmup` gets lr; then the rate falls to min_lr_ratio lr at step `steps`, and stays there.
    warmup < steps. (Loshchilov and Hutter, "SGDR", 2017, section 3; warm-up: Goyal et al. 2017, section 2.2.)
    """
    if step < warmup:
        return lr * (step + 1) / (warmup + 1)
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return lr * (min_lr_ratio + (1.0 - min_lr_ratio) * 0.5 * (1.0 + math.cos(math.pi * done)))


@op(outputs=("new_scale", "new_since"))
def update_loss_scale(scale: float, finite: bool, since: int, growth: float = 2.0, backoff: float = 0.5,
                      interval: int = 2000) -> tuple[float, int]:
    """Choose what the next loss is multiplied by, so that its gradients neither vanish nor overflow.

    scale: what the last loss was multiplied by; finite: whether all its gradients were; since: how many steps
    before it had finite gradients since the scale changed -> the next scale (float) and since (int). After a
    step that was not finite the scale is multiplied by backoff; after `interval` finite steps in a row, this
    one included, by growth. (Micikevicius et al. 2018, section 3.2; GradScaler of PyTorch.)
    """
    if not finite:
        return scale * backoff, 0
    if since + 1 == interval:
        return scale * growth, 0
    return scale, since + 1
