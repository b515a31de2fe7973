"""Mistakes in the optimizer's ops."""

import numpy as np

from tinyllm.ops import adamw_step, clip_grads, grad_norm
from tinyllm.testing.mistake import mistake


def means(g, m, v, beta1, beta2):
    """Update both running means in place."""
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g * g


@mistake("adamw_step", "Adam without bias correction")
def without_bias_correction(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8,
                            weight_decay=0.0, grad_scale=1.0):
    g = g * grad_scale
    means(g, m, v, beta1, beta2)
    w -= lr * weight_decay * w + lr * m / (np.sqrt(v) + eps)


@mistake("adamw_step", "bias correction with step - 1: steps count from 1")
def counts_from_zero(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8,
                     weight_decay=0.0, grad_scale=1.0):
    g = g * grad_scale
    means(g, m, v, beta1, beta2)
    m_hat, v_hat = m / np.float32(1 - beta1 ** (step - 1)), v / np.float32(1 - beta2 ** (step - 1))
    w -= lr * weight_decay * w + lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adamw_step", "bias correction of the first mean only")
def corrects_one(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, grad_scale=1.0):
    g = g * grad_scale
    means(g, m, v, beta1, beta2)
    w -= lr * weight_decay * w + lr * m / (1 - beta1**step) / (np.sqrt(v) + eps)


@mistake("adamw_step", "L2: weight decay added to the gradient, where AdamW takes it from the weights")
def decays_the_gradient(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8,
                        weight_decay=0.0, grad_scale=1.0):
    g = g * grad_scale
    adamw_step(w, g + weight_decay * w, m, v, step, lr, beta1, beta2, eps)


@mistake("adamw_step", "weight decay that is not multiplied by the learning rate")
def decays_without_rate(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8,
                        weight_decay=0.0, grad_scale=1.0):
    g = g * grad_scale
    w -= weight_decay * w
    adamw_step(w, g, m, v, step, lr, beta1, beta2, eps)


@mistake("adamw_step", "Adam without weight decay")
def never_decays(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, grad_scale=1.0):
    g = g * grad_scale
    adamw_step(w, g, m, v, step, lr, beta1, beta2, eps)


@mistake("adamw_step", "eps inside the square root")
def eps_inside(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, grad_scale=1.0):
    g = g * grad_scale
    means(g, m, v, beta1, beta2)
    m_hat, v_hat = m / (1 - beta1**step), v / (1 - beta2**step)
    w -= lr * weight_decay * w + lr * m_hat / np.sqrt(v_hat + eps)


@mistake("adamw_step", "division by the mean of squares, without the square root")
def without_root(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, grad_scale=1.0):
    g = g * grad_scale
    means(g, m, v, beta1, beta2)
    w -= lr * weight_decay * w + lr * (m / (1 - beta1**step)) / (v / (1 - beta2**step) + eps)


@mistake("adamw_step", "a step up the gradient, not down")
def climbs(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, grad_scale=1.0):
    g = g * grad_scale
    means(g, m, v, beta1, beta2)
    m_hat, v_hat = m / (1 - beta1**step), v / (1 - beta2**step)
    w -= lr * weight_decay * w - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adamw_step", "m = ..., which makes a new array and leaves the caller's m and v as they were")
def rebinds(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, grad_scale=1.0):
    g = g * grad_scale
    adamw_step(w, g, m.copy(), v.copy(), step, lr, beta1, beta2, eps, weight_decay)


@mistake("adamw_step", "the corrected means written back into m and v, so that they are corrected again")
def keeps_the_correction(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8,
                         weight_decay=0.0, grad_scale=1.0):
    g = g * grad_scale
    adamw_step(w, g, m, v, step, lr, beta1, beta2, eps, weight_decay)
    m /= 1 - beta1**step
    v /= 1 - beta2**step


@mistake("adamw_step", "the weights given beta1 and 1 - beta1 swapped")
def swaps_betas(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, grad_scale=1.0):
    g = g * grad_scale
    adamw_step(w, g, m, v, step, lr, 1 - beta1, 1 - beta2, eps, weight_decay)


@mistake("adamw_step", "the gradient as it is, not multiplied by grad_scale")
def never_scales(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, grad_scale=1.0):
    adamw_step(w, g, m, v, step, lr, beta1, beta2, eps, weight_decay)


@mistake("adamw_step", "the learning rate multiplied by grad_scale, not the gradient")
def scales_the_rate(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, grad_scale=1.0):
    adamw_step(w, g, m, v, step, lr * grad_scale, beta1, beta2, eps, weight_decay)


@mistake("grad_norm", "the sum of the arrays' norms: norms do not add, squares do")
def adds_norms(grads):
    return sum(grad_norm([g]) for g in grads)


@mistake("grad_norm", "the sum of squares, without the square root")
def without_norm_root(grads):
    return grad_norm(grads) ** 2


@mistake("grad_norm", "the largest of the arrays' norms")
def largest_norm(grads):
    return max((grad_norm([g]) for g in grads), default=0.0)


@mistake("grad_norm", "the root of the mean square, where the sum of squares belongs")
def mean_square(grads):
    return grad_norm(grads) / max(sum(g.size for g in grads), 1) ** 0.5


@mistake("clip_grads", "every array clipped by its own norm, not by that of all together")
def clips_each(grads, norm, limit):
    return [clip_grads([g], grad_norm([g]), limit)[0] for g in grads]


@mistake("clip_grads", "gradients scaled to the limit even when they are shorter")
def always_scales(grads, norm, limit):
    return [g * float(limit / norm) for g in grads] if norm else list(grads)


@mistake("clip_grads", "every number cut to +-limit, which changes the direction")
def clips_numbers(grads, norm, limit):
    return [np.clip(g, -limit, limit) for g in grads]


@mistake("clip_grads", "gradients that are never clipped")
def never_clips(grads, norm, limit):
    return list(grads)


@mistake("clip_grads", "gradients divided by their norm, without the limit")
def forgets_the_limit(grads, norm, limit):
    return [g / float(norm) for g in grads] if norm > limit else list(grads)
