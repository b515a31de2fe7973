"""Lesson 8. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 8`.
"""

import math

import numpy as np


def adamw_step(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8,
               weight_decay=0.0, grad_scale=1.0):
    """Move weights against the running mean of their gradient, divided by its
    running size; let them decay.

    w, g, m, v of one shape; w, m and v are changed in place; step counts from
    1. m and v start at 0 and so are too small at first: dividing by 1 -
    beta^step corrects that. The decay acts on the weights themselves, not
    through the gradient. The gradient is multiplied by grad_scale first, which
    is how it is clipped without a pass of its own. eps is added to the root,
    which may be 0; nothing is returned.
    """
    raise NotImplementedError


def grad_norm(grads):
    """Measure a list of gradients as one long vector: the square root of the
    sum of all squares.

    grads: list of arrays -> float. Squares are summed in float64, where they
    cannot overflow.
    """
    raise NotImplementedError


def clip_grads(grads, norm, limit):
    """Shorten a list of gradients to length `limit` when their norm is greater,
    keeping the direction.

    grads: list of arrays, norm: their length together -> new list (of the same
    arrays where nothing needs clipping).
    """
    raise NotImplementedError


def lr_schedule(step, steps, lr, warmup, min_lr_ratio):
    """Say how large a step may be: a straight climb during the warm-up, then
    down half a cosine.

    step, counted from 0, of steps in all -> float. Step i of the warm-up gets
    lr (i + 1) / (warmup + 1); from step warmup, which gets lr, the rate falls
    towards min_lr_ratio lr, which step `steps` would reach, and stays there.
    """
    raise NotImplementedError
