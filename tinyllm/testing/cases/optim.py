"""Cases of the optimizer's ops."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import MODEST, PLAIN, floats, leading, sizes
from tinyllm.testing.bounds import EPS, TINY, ulps
from tinyllm.testing.relations import bind, run_spec


@st.composite
def adamw_step(draw):
    """The first step, where the means are 0, and later ones. What is changed in place is contiguous."""
    shape = (*draw(leading), draw(sizes))
    w, m, v = (floats(draw, shape, kinds=MODEST, layouts=PLAIN) for _ in range(3))
    step = draw(st.sampled_from((1, 2, 10, 1000, 100_000)))
    if step == 1:
        m, v = np.zeros_like(m), np.zeros_like(v)
    numbers = [draw(st.sampled_from(choices)) for choices in (
        (0.1, 1e-3, 0.0), (0.9, 0.0, 0.5), (0.999, 0.99, 0.95), (1e-8, 1e-3), (0.0, 0.1, 1.0), (1.0, 0.03))]
    return (w, floats(draw, shape), m, v * v, step, *numbers)


@st.composite
def gradients(draw):
    """A list of arrays of any shapes, or of none."""
    return [floats(draw, (*draw(leading), draw(sizes))) for _ in range(draw(st.integers(0, 4)))]


@st.composite
def clip_grads(draw):
    """The norm is the true one; the limit is above or below it, or none."""
    grads = draw(gradients())
    return grads, run_spec("grad_norm", (grads,)), draw(st.sampled_from((1.0, 0.01, 100.0, float("inf"))))


def adamw_bound(args, results):
    """Terms of the mean may cancel, in m + (1 - beta1) (g - m) too; the mean of squares may not."""
    given = bind("adamw_step", args)
    v = results[2]
    b1, b2, step, rate = given["beta1"], given["beta2"], given["step"], given["lr"]
    m_size = np.abs(given["m"]) + (1 - b1) * np.abs(given["g"] * given["grad_scale"])
    move = m_size / (1 - b1**step) / (np.sqrt(v / (1 - b2**step)) + given["eps"])
    w_size = np.abs(given["w"]) * (1 + rate * given["weight_decay"])
    return EPS * (4 * w_size + 16 * rate * move) + TINY, 5 * EPS * m_size + TINY, 6 * EPS * v + TINY


def grad_norm_bound(args, results):
    """Nothing cancels in a sum of squares."""
    count = sum(g.size for g in args[0])
    return (EPS * (4 + count) * results[0] + TINY,)


@st.composite
def schedules(draw):
    """Steps before, in and after the warm-up, at the end and beyond it."""
    steps, warmup = draw(st.sampled_from((10, 100, 3, 1, 2000))), draw(st.sampled_from((0, 1, 2, 5, 100)))
    step = draw(st.sampled_from((0, 1, warmup, warmup + 1, steps - 1, steps, steps // 2, 2 * steps)))
    lr, low = draw(st.sampled_from((1e-3, 0.1, 1.0))), draw(st.sampled_from((0.1, 0.0, 1.0)))
    return step, steps, lr, warmup, low


def schedule_bound(args, results):
    """A few roundings on the scale of the largest rate; cos differs in its last bits between C libraries."""
    return (1e-9 * args[2],)


CASES = {
    "adamw_step": adamw_step(), "grad_norm": st.tuples(gradients()), "clip_grads": clip_grads(),
    "lr_schedule": schedules(),
}  # fmt: skip
BOUNDS = {
    "adamw_step": adamw_bound, "grad_norm": grad_norm_bound, "clip_grads": ulps(4),
    "lr_schedule": schedule_bound,
}  # fmt: skip
