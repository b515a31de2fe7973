"""Provide test cases, common mistakes and correct variants for the optimizer's ops."""

import math

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import CASES, MODEST, PLAIN, USUAL, cases, floats, leading, sizes
from tinyllm.testing.bounds import BOUNDS, EPS, TINY, bound, of_terms, ulps
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.relations import bind, run_spec


@cases("adamw_step")
def adamw_step(draw):
    """Draw the first step of AdamW, where m and v are 0, or a later step; w, m and v are contiguous."""
    shape = (*draw(leading), draw(sizes))
    w, m, v = (floats(draw, shape, kinds=MODEST, layouts=PLAIN) for _ in range(3))
    step = draw(st.sampled_from((1, 2, 10, 1000, 100_000)))
    if step == 1:
        m, v = np.zeros_like(m), np.zeros_like(v)
    numbers = [draw(st.sampled_from(choices)) for choices in (
        (0.1, 1e-3, 0.0), (0.9, 0.0, 0.5), (0.999, 0.99, 0.95), (1e-8, 1e-3), (0.0, 0.1, 1.0), (1.0, 0.03))]
    return (w, floats(draw, shape), m, v * v, step, *numbers)


@st.composite
def gradients(draw, kinds=USUAL):
    """Draw a list of up to four gradients with any shapes."""
    return [floats(draw, (*draw(leading), draw(sizes)), kinds) for _ in range(draw(st.integers(0, 4)))]


@cases("clip_grads")
def clip_grads(draw):
    """Draw gradients, their norm, and the norm to clip them to, which may be infinite."""
    grads = draw(gradients())
    norm = run_spec("grad_norm", (grads,))
    return grads, norm, draw(st.sampled_from((1.0, norm / 2 or 1.0, 0.01, 100.0, float("inf"))))


@bound("adamw_step")
def adamw_bound(args, results):
    """Bound the float32 errors of the new w, m and v: the rounding errors of their terms."""
    given = bind("adamw_step", args)
    v = results[2]
    b1, b2, step, rate = given["beta1"], given["beta2"], given["step"], given["lr"]
    m_size = np.abs(given["m"]) + (1 - b1) * np.abs(given["g"] * given["grad_scale"])
    move = m_size / (1 - b1**step) / (np.sqrt(v / (1 - b2**step)) + given["eps"])
    w_size = np.abs(given["w"]) * (1 + rate * given["weight_decay"])
    return EPS * (4 * w_size + 16 * rate * move) + TINY, 5 * EPS * m_size + TINY, 6 * EPS * v + TINY


@cases("lr_schedule")
def schedules(draw):
    """Draw a learning rate schedule and a step, often at the end of the warm-up or of the training."""
    steps = draw(st.sampled_from((10, 100, 3, 1, 2000)))
    warmup = draw(st.sampled_from([n for n in (0, 1, 2, 5, 100) if n < steps]))
    step = draw(st.sampled_from((0, 1, warmup, warmup + 1, steps - 1, steps, steps // 2, 2 * steps)))
    lr, low = draw(st.sampled_from((1e-3, 0.1, 1.0))), draw(st.sampled_from((0.1, 0.0, 1.0)))
    return step, steps, lr, warmup, low


CASES["grad_norm"] = st.tuples(gradients((*USUAL, "huge")))  # squares of huge numbers overflow in float32
CASES["update_loss_scale"] = st.tuples(*map(st.sampled_from, (
    (65536.0, 1.0, 0.5, 3e7), (True, False), (3, 0, 1, 2, 1999), (2.0, 1.5), (0.5, 0.25), (4, 1, 2, 2000),
))).filter(lambda args: args[2] < args[5])
BOUNDS["grad_norm"] = of_terms(lambda results, grads: (4 + sum(g.size for g in grads)) * results[0])
BOUNDS["clip_grads"] = ulps(4)
BOUNDS["update_loss_scale"] = lambda args, results: (1e-9 * results[0], 0)
BOUNDS["lr_schedule"] = lambda args, results: (1e-9 * args[2],)  # C libraries differ a little

CORRECTED = "m / (1 - beta1**step)", "v / (1 - beta2**step)"
NORM = "math.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in grads))"
CLIPPED = "[np.asarray(g * scale) for g in grads]"
HALF_COSINE = "(1.0 - min_lr_ratio) * 0.5 * (1.0 + math.cos(math.pi * done))"

mistake("adamw_step", "Adam without bias correction", CORRECTED[0], "m", CORRECTED[1], "v")
mistake("adamw_step", "L2: weight decay added to the gradient, where AdamW takes it from the weights",
        "g * float(grad_scale)", "g * float(grad_scale) + weight_decay * w", "w -= lr * weight_decay * w", "")
mistake("adamw_step", "m = ..., which makes a new array and leaves the caller's m and v as they were",
        "m *= beta1", "m = m * beta1", "v *= beta2", "v = v * beta2")
mistake("adamw_step", "w = ..., which makes a new array and leaves the caller's w as it was", "",
        "w = w.copy()")
mistake("adamw_step", "squares averaged with beta1, which is for the gradient", "v *= beta2", "v *= beta1",
        "(1 - beta2) * g * g", "(1 - beta1) * g * g")
mistake("adamw_step", "the corrected means written back into m and v, so that they are corrected again",
        f"m_hat = {CORRECTED[0]}", "m /= 1 - beta1**step\nm_hat = m", f"v_hat = {CORRECTED[1]}",
        "v /= 1 - beta2**step\nv_hat = v")
mistake("adamw_step", "the weights given beta1 and 1 - beta1 swapped", "",
        "beta1, beta2 = 1 - beta1, 1 - beta2")
mistake("adamw_step", "the square of a gradient that was not multiplied by grad_scale, in v",
        "(1 - beta2) * g * g", "(1 - beta2) * (g / grad_scale) ** 2")
mistake("adamw_step", "the learning rate multiplied by grad_scale, not the gradient",
        "g = g * float(grad_scale)", "lr = lr * float(grad_scale)")
mistake("grad_norm", "the sum of the arrays' norms: norms do not add, squares do", NORM,
        "sum(math.sqrt(float((g.astype(np.float64) ** 2).sum())) for g in grads)")
mistake("grad_norm", "the largest of the arrays' norms", NORM,
        "max((math.sqrt(float((g.astype(np.float64) ** 2).sum())) for g in grads), default=0.0)")
mistake("grad_norm", "the root of the mean square, where the sum of squares belongs", NORM,
        f"{NORM} / max(sum(g.size for g in grads), 1) ** 0.5")
mistake("grad_norm", "the largest number in any of the arrays", NORM,
        "max((float(np.abs(g).max(initial=0)) for g in grads), default=0.0)")
mistake("grad_norm", "the sum of absolute values, the other norm", NORM,
        "float(sum(np.abs(g.astype(np.float64)).sum() for g in grads))")
mistake("clip_grads", "every array clipped by its own norm, not by that of all together", CLIPPED,
        "[g * min(1.0, float(limit) / (grad_norm([g]) or 1)) for g in grads]")
mistake("clip_grads", "every number cut to +-limit, which changes the direction", CLIPPED,
        "[np.clip(g, -limit, limit) for g in grads]")
mistake("clip_grads", "gradients divided by their norm, without the limit", "float(limit) / float(norm)",
        "1 / float(norm)")
mistake("clip_grads", "gradients of which each array is given the length of the limit", CLIPPED,
        "[g * (float(limit) / (grad_norm([g]) or 1)) for g in grads]")
mistake("clip_grads", "what the norm has too much subtracted: multiply by limit / norm", CLIPPED,
        "[np.asarray(g - (float(norm) - float(limit)), g.dtype) for g in grads]")
mistake("lr_schedule", "a straight line down, where half a cosine belongs", HALF_COSINE,
        "(1.0 - min_lr_ratio) * (1 - done)")
mistake("lr_schedule", "a whole cosine, down and up again, where half of one belongs", "math.pi * done",
        "2 * math.pi * done")
mistake("lr_schedule", "a quarter of a cosine, which falls steeply at its end", HALF_COSINE,
        "(1.0 - min_lr_ratio) * math.cos(math.pi / 2 * done)")
mistake("lr_schedule", "a warm-up that starts at 0, so that the first step does nothing",
        "lr * (step + 1) / (warmup + 1)", "lr * step / warmup")
mistake("lr_schedule", "a cosine that rises again after the last step",
        "min(1.0, (step - warmup) / max(1, steps - warmup))", "(step - warmup) / max(1, steps - warmup)")
mistake("lr_schedule", "a cosine counted from step 0, as if there had been no warm-up",
        "(step - warmup) / max(1, steps - warmup)", "step / max(1, steps)")
mistake("lr_schedule", "min_lr_ratio taken for a rate, not for a share of lr",
        f"lr * (min_lr_ratio + {HALF_COSINE})",
        "max(lr * 0.5 * (1.0 + math.cos(math.pi * done)), min_lr_ratio)")

mistake("update_loss_scale", "a count that infinities do not end",
        "(scale * backoff, 0)", "(scale * backoff, since)")
mistake("update_loss_scale", "a count that goes on after the scale has grown",
        "(scale * growth, 0)", "(scale * growth, since + 1)")
mistake("update_loss_scale", "growth one step too late: this step counts, too",
        "since + 1 == interval", "since == interval")


@variant("adamw_step")
def adamw_step_by_folding(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0,
                          grad_scale=1.0):
    """Put both bias corrections into the step size (Kingma and Ba 2015, end of section 2)."""
    g = g * grad_scale
    np.copyto(m, m + (1 - beta1) * (g - m))
    np.copyto(v, beta2 * v + (1 - beta2) * g**2)
    root = (1 - beta2**step) ** 0.5
    decayed = (1 - lr * weight_decay) * w
    np.copyto(w, decayed - lr * root / (1 - beta1**step) * m / (np.sqrt(v) + eps * root))


variant("grad_norm")(lambda grads: float(np.linalg.norm(np.concatenate(
    [np.zeros(1), *(g.ravel().astype(np.float64) for g in grads)]))))
variant("clip_grads")(lambda grads, norm, limit: [g / float(max(norm / limit, 1.0)) for g in grads])


@variant("lr_schedule")
def lr_schedule_that_returns_early(step, steps, lr, warmup, min_lr_ratio):
    low = min_lr_ratio * lr
    if step < warmup:
        return lr * (step + 1) / (warmup + 1)
    if step >= steps:
        return low
    done = (step - warmup) / (steps - warmup)
    return low + (lr - low) * 0.5 * (1 + math.cos(math.pi * done))
