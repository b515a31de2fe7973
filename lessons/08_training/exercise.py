"""Lesson 8. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 8`.

But for what a text says is changed in place, what you are given must come back
as it was. Numbers in arrays are float32, and so are results.
"""

import math

import numpy as np


def adamw_step(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8,
               weight_decay=0.0, grad_scale=1.0):
    """Do one step of AdamW: move weights against the mean gradient divided by
    its usual size, and decay them.

    w, g, m, v of one shape; w, m and v are changed in place; step counts from
    1. m is the running mean of the gradient, v the running mean of its square.
    Both start at 0 and so are too small at first: dividing by 1 - beta^step
    corrects that. The decay acts on the weights as they were, by lr *
    weight_decay, not through the gradient. The gradient is first multiplied by
    grad_scale, which clips it without another pass. eps is added to the root,
    which may be 0; nothing is returned.
    """
    raise NotImplementedError


def grad_norm(grads):
    """Compute the length of all gradients as one vector: the square root of the
    sum of all squares.

    grads: list of arrays -> float. Squares are summed in float64, where they
    cannot overflow.
    """
    raise NotImplementedError


def clip_grads(grads, norm, limit):
    """Shorten a list of gradients to length `limit` when their norm is greater,
    keeping the direction.

    grads: list of arrays, norm: their joint length -> new list. If nothing is
    clipped, the new list may hold the same arrays.
    """
    raise NotImplementedError


def lr_schedule(step, steps, lr, warmup, min_lr_ratio):
    """Compute the learning rate of a step: a linear warm-up, then a fall along
    half a cosine.

    step: counted from 0, steps: the total -> float. Step i of the warm-up gets
    lr (i + 1) / (warmup + 1). Step number `warmup` gets lr; then the rate falls
    to min_lr_ratio lr at step `steps`, and stays there. warmup < steps.
    """
    raise NotImplementedError
