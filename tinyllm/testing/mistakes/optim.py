"""Mistakes in the optimizer's ops."""

import math

import numpy as np

from tinyllm.ops import adamw_step, clip_grads, grad_norm, lr_schedule
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


@mistake("grad_norm", "the norm of the first array alone")
def first_only(grads):
    return grad_norm(grads[:1])


@mistake("grad_norm", "the largest number in any of the arrays")
def largest_number(grads):
    return max((float(np.abs(g).max(initial=0)) for g in grads), default=0.0)


@mistake("grad_norm", "the sum of absolute values, the other norm")
def absolute_sum(grads):
    return float(sum(np.abs(g.astype(np.float64)).sum() for g in grads))


@mistake("grad_norm", "the norm of the sums: squares must be taken before adding")
def norm_of_sums(grads):
    return float(np.sqrt(sum(float(g.astype(np.float64).sum()) ** 2 for g in grads)))


@mistake("clip_grads", "gradients multiplied by the norm and divided by the limit: the wrong way up")
def upside_down(grads, norm, limit):
    return [g * float(norm / limit) for g in grads] if norm > limit else list(grads)


@mistake("clip_grads", "gradients of which each array is given the length of the limit")
def each_to_the_limit(grads, norm, limit):
    if not norm > limit:
        return list(grads)
    return [g * float(limit / (grad_norm([g]) or 1)) for g in grads]


@mistake("clip_grads", "gradients set to zero where they are too long")
def drops_them(grads, norm, limit):
    return [np.zeros_like(g) for g in grads] if norm > limit else list(grads)


def shaped(step, steps, lr, warmup, low, shape):
    """A schedule with another shape after the warm-up."""
    if step < warmup:
        return lr * (step + 1) / (warmup + 1)
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return lr * (low + (1 - low) * shape(done))


@mistake("lr_schedule", "a straight line down, where half a cosine belongs")
def straight_down(step, steps, lr, warmup, min_lr_ratio):
    return shaped(step, steps, lr, warmup, min_lr_ratio, lambda done: 1 - done)


@mistake("lr_schedule", "a whole cosine, down and up again, where half of one belongs")
def whole_cosine(step, steps, lr, warmup, min_lr_ratio):
    def shape(done):
        return 0.5 * (1 + math.cos(2 * math.pi * done))

    return shaped(step, steps, lr, warmup, min_lr_ratio, shape)


@mistake("lr_schedule", "a quarter of a cosine, which falls steeply at its end")
def quarter_cosine(step, steps, lr, warmup, min_lr_ratio):
    return shaped(step, steps, lr, warmup, min_lr_ratio, lambda done: math.cos(math.pi / 2 * done))


@mistake("lr_schedule", "a warm-up that starts at 0, so that the first step does nothing")
def starts_at_zero(step, steps, lr, warmup, min_lr_ratio):
    return lr * step / warmup if step < warmup else lr_schedule(step, steps, lr, warmup, min_lr_ratio)


@mistake("lr_schedule", "a cosine counted from step 0, as if there had been no warm-up")
def forgets_the_warmup(step, steps, lr, warmup, min_lr_ratio):
    if step < warmup:
        return lr_schedule(step, steps, lr, warmup, min_lr_ratio)
    return lr_schedule(step, steps, lr, 0, min_lr_ratio)


@mistake("lr_schedule", "a rate that falls to 0, not to min_lr_ratio lr")
def falls_to_zero(step, steps, lr, warmup, min_lr_ratio):
    return lr_schedule(step, steps, lr, warmup, 0.0)


@mistake("lr_schedule", "no warm-up: full speed from the first step")
def no_warmup(step, steps, lr, warmup, min_lr_ratio):
    return lr if step < warmup else lr_schedule(step, steps, lr, warmup, min_lr_ratio)


@mistake("lr_schedule", "min_lr_ratio taken for a rate, not for a share of lr")
def ratio_as_rate(step, steps, lr, warmup, min_lr_ratio):
    return max(lr_schedule(step, steps, lr, warmup, 0.0), min_lr_ratio)


@mistake("lr_schedule", "a cosine that goes on beyond the last step, and up again")
def goes_on(step, steps, lr, warmup, min_lr_ratio):
    if step < warmup:
        return lr_schedule(step, steps, lr, warmup, min_lr_ratio)
    done = (step - warmup) / max(1, steps - warmup)
    return lr * (min_lr_ratio + (1 - min_lr_ratio) * 0.5 * (1 + math.cos(math.pi * done)))
