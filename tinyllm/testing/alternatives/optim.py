"""Right solutions of the ops in optim.py, written differently."""

import numpy as np

from tinyllm.testing.alternative import alternative


@alternative
def adamw_step_by_folding(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0,
                          grad_scale=1.0):
    """As at the end of section 2 of Kingma and Ba: both corrections folded into the step size."""
    g = g * grad_scale
    np.copyto(m, m + (1 - beta1) * (g - m))
    np.copyto(v, beta2 * v + (1 - beta2) * g**2)
    root = (1 - beta2**step) ** 0.5
    decayed = (1 - lr * weight_decay) * w
    np.copyto(w, decayed - lr * root / (1 - beta1**step) * m / (np.sqrt(v) + eps * root))


@alternative
def grad_norm_by_concatenation(grads):
    flat = [g.ravel().astype(np.float64) for g in grads]
    return float(np.linalg.norm(np.concatenate([np.zeros(1), *flat])))


@alternative
def clip_grads_by_multiplying_always(grads, norm, limit):
    scale = min(1.0, limit / norm) if norm else 1.0
    return [g * scale for g in grads]
