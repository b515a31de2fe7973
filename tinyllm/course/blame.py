"""Find which of a student's functions makes a training run wrong, by training with only some of them.

The library gives the same bits on every machine, so its losses on a run's data, model and seed are exact
numbers. A correct function may add in another order and differ in the last bits, which changes the first
losses by some millionths. A wrong function changes a loss by hundredths, at once or one step later. A high
learning rate amplifies small differences. So a control run measures the tolerance: it trains with the
library's specifications, and replaces every third number of their results by the next larger float.

The gradient's norm is compared too, because clipping and AdamW hide a wrong factor in a backward op.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyllm.course.plugins import PartFailure, plug_in
from tinyllm.errors import UserError
from tinyllm.ops.registry import OPS, override

STEPS = 40  # of a trial run; enough to notice every known mistake that changes the training
ALLOWED = 2e-4  # nats; the smallest tolerance of a loss
ALLOWED_NORM = 2e-4  # the smallest tolerance of a gradient norm, as a share of it
TIMES = 20  # the tolerance is this many times the control run's deviation, unless that is less than ALLOWED


class Finding(NamedTuple):
    """The result of `Blame.find`: the ops that make the run wrong (`culprits`).

    what: what happens in training with all of the student's functions, or "" if nothing is wrong.
    together: True if each function alone is within tolerance, and only their combination is not.
    """

    culprits: tuple[str, ...] = ()
    what: str = ""
    together: bool = False


def perturbed(op: str) -> Callable[..., Any]:
    """Return an op's specification with rounding errors: every third result is the next larger float."""
    o = OPS[op]

    @functools.wraps(o.reference)
    def function(*args, **kwargs):
        value = o.reference(*args, **kwargs)
        return tuple(map(nudged, value)) if isinstance(value, tuple) else nudged(value)

    return function


def nudged(value: Any) -> Any:
    """Return a copy of an array with every third number replaced by the next larger float."""
    if not isinstance(value, np.ndarray | np.generic) or value.dtype.kind != "f":
        return value
    flat = np.array(value).reshape(-1)
    third = flat[::3]
    movable = np.isfinite(third) & (third != 0)
    flat[::3] = np.where(movable, np.nextafter(third, np.inf, dtype=flat.dtype), third)
    return flat.reshape(value.shape)


def tolerances(values: Any, control: Any, least: Any = ALLOWED) -> np.ndarray:
    """Return each step's tolerance: 20 times the control run's largest deviation so far, at least `least`."""
    spread = np.maximum.accumulate(np.abs(np.subtract(values, control)), axis=0)
    return np.maximum(least, TIMES * spread)


class Blame:
    """Repeat a training run with some of the parts, {op: Plugin}. tick() is called before each step."""

    def __init__(self, setup, parts, steps=STEPS, tick=lambda: None):
        self.setup = setup
        self.parts = parts
        self.steps = min(steps, setup.config.train.steps)
        self.tick = tick

    @functools.cached_property
    def right(self) -> np.ndarray:
        """Return the losses and gradient norms (steps, 2) of training with the library's own functions."""
        return self.run_through()

    @functools.cached_property
    def allowed(self) -> np.ndarray:
        """Return the tolerance (steps, 2) of each loss and each gradient norm."""
        with override(**{op: perturbed(op) for op in self.parts}):
            control = self.run_through()
        norms = self.right[:, 1]
        return tolerances(self.right, control, np.stack([0 * norms + ALLOWED, ALLOWED_NORM * norms], axis=1))

    def run_through(self) -> np.ndarray:
        """Train for all steps; return the losses and the gradient norms (steps, 2)."""
        training, steps = self.setup.steps(), []
        for _ in range(self.steps):
            self.tick()
            steps.append(next(training))
        return np.array([(step.loss, step.grad_norm) for step in steps])

    def trial(self, ops: Sequence[str]) -> str:
        """Train with the functions `ops`; describe a loss or norm out of tolerance, or return ""."""
        bounds, training = zip(self.right, self.allowed, strict=True), self.setup.steps()
        with plug_in([self.parts[op] for op in ops]), np.errstate(all="ignore"):
            for step, (right, allowed) in enumerate(bounds, 1):
                self.tick()
                try:
                    done = next(training)
                    got = np.array([done.loss, done.grad_norm])
                except PartFailure as failure:
                    return f"stop at step {step}: {failure}"
                except (UserError, ValueError, TypeError, IndexError, AttributeError, ArithmeticError):
                    got = np.array([np.nan, np.nan])  # the library's code failed on a student's results
                far = ~(np.abs(got - right) <= allowed)
                if far.any():
                    i = int(np.argmax(far))
                    numbers = f"{('loss', 'gradient norm')[i]} {got[i]:.4f} where {right[i]:.4f} is right"
                    return f"leave the range at step {step}: {numbers}"
        return ""

    def find(self) -> Finding:
        """Find the functions to blame. The finding has no culprits if all losses are within tolerance."""
        ops = list(self.parts)
        if not (what := self.trial(ops)):
            return Finding()
        ops = [op for op in ops if self.parts[op].calls] or ops  # functions never called are not to blame
        single = [op for op in ops if len(ops) == 1 or not self.trial([x for x in ops if x != op])]
        if len(single) == 1:
            return Finding(tuple(single), what)
        guilty = tuple(op for op in ops if self.trial([op]))
        return Finding(guilty or tuple(single or ops), what, together=not guilty)
