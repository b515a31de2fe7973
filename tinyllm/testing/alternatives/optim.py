"""Right solutions of the ops in optim.py, written differently."""

import math

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


@alternative
def adamw_step_by_the_paper(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0,
                            grad_scale=1.0):
    gradient = grad_scale * g
    m[...] = beta1 * m + (1 - beta1) * gradient
    v[...] = beta2 * v + (1 - beta2) * gradient * gradient
    direction = (m / (1 - beta1**step)) / (np.sqrt(v / (1 - beta2**step)) + eps)
    w[...] = w - lr * (direction + weight_decay * w)


@alternative
def adamw_step_by_in_place_operations(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8,
                                      weight_decay=0.0, grad_scale=1.0):
    g = g * grad_scale
    np.multiply(m, beta1, out=m)
    np.add(m, (1 - beta1) * g, out=m)
    np.multiply(v, beta2, out=v)
    np.add(v, (1 - beta2) * np.square(g), out=v)
    np.multiply(w, 1 - lr * weight_decay, out=w)
    np.subtract(w, (lr / (1 - beta1**step)) * m / (np.sqrt(v / (1 - beta2**step)) + eps), out=w)


@alternative
def grad_norm_by_dot_products(grads):
    return math.sqrt(sum(float(np.vdot(g.astype(np.float64), g.astype(np.float64))) for g in grads))


@alternative
def grad_norm_by_hypot(grads):
    return math.hypot(*(v for g in grads for v in g.ravel().tolist()))


@alternative
def clip_grads_by_dividing(grads, norm, limit):
    return [g / float(max(norm / limit, 1.0)) for g in grads]


@alternative
def clip_grads_by_copies(grads, norm, limit):
    clipped = [np.array(g) for g in grads]
    if norm > limit:
        for g in clipped:
            g *= limit / norm
    return clipped


@alternative
def lr_schedule_by_a_squared_cosine(step, steps, lr, warmup, min_lr_ratio):
    if step < warmup:
        return (step + 1) * (lr / (warmup + 1))
    done = min((step - warmup) / max(steps - warmup, 1), 1)
    return lr * min_lr_ratio + lr * (1 - min_lr_ratio) * math.cos(math.pi / 2 * done) ** 2


@alternative
def lr_schedule_by_interpolation(step, steps, lr, warmup, min_lr_ratio):
    climb = (step + 1) / (warmup + 1)
    fall = 0.5 + 0.5 * math.cos(math.pi * min(max(step - warmup, 0) / max(steps - warmup, 1), 1))
    return lr * climb if step < warmup else lr * (fall + (1 - fall) * min_lr_ratio)


@alternative
def lr_schedule_by_numpy(step, steps, lr, warmup, min_lr_ratio):
    done = np.clip((step - warmup) / max(1, steps - warmup), 0, 1)
    low = min_lr_ratio * lr
    down = low + (lr - low) * (1 + np.cos(np.pi * done)) / 2
    return float(np.where(step < warmup, lr * (step + 1) / (warmup + 1), down))
