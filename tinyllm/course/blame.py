"""Find which of a student's functions makes a training run wrong, by training with only some of them.

The library gives the same bits on every machine, so its losses on a run's data, model and seed are exact
numbers. A correct function may add in another order and differ in the last bits, which changes the first
losses by some millionths. A wrong function changes a loss by hundredths, at once or one step later. A high
learning rate amplifies small differences. So a control run measures the tolerance: it trains with the
library's specifications, and moves every third number of their results to the next float.

The gradient's norm is compared too, because clipping and AdamW hide a wrong factor in a backward op.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyllm.course.plugins import PartFailure, plug_in
from tinyllm.errors import UserError
from tinyllm.ops.registry import OPS, override

STEPS = 40  # of a trial; enough for every known mistake that changes the training
ALLOWED = 2e-4  # nats; the smallest tolerance of a loss
ALLOWED_NORM = 2e-4  # the smallest tolerance of a gradient norm, as a share of it
TIMES = 20  # the tolerance is this many times the deviation of the control run, if that is more


@dataclass(frozen=True)
class Trial:
    """The result of training with some of the student's functions, compared step by step with the library.

    right: True if every loss and gradient norm was within the tolerance.
    step: the first step where `what` ("loss" or the gradient norm) was outside the tolerance, or None.
    got, want: the value at this step, and the library's value.
    failure: set if a function failed.
    """

    right: bool
    step: int | None = None
    what: str = "loss"
    got: float | None = None
    want: float | None = None
    failure: PartFailure | None = None


@dataclass(frozen=True)
class Finding:
    """The result of `Blame.find`: the ops that make the run wrong (`culprits`).

    losses: the library's losses.
    all_parts: the result of training with all of the student's functions.
    """

    culprits: tuple[str, ...]
    losses: tuple[float, ...]
    all_parts: Trial
    failures: dict
    together: bool = False  # True if only the combination is out of tolerance
    confirmed: bool = False  # the other parts alone stay in range


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


def tolerances(values: Sequence[float], control: Sequence[float],
            least: float | np.ndarray = ALLOWED) -> tuple[float, ...]:
    """Return each step's tolerance: 20 times the control run's largest deviation so far, at least `least`."""
    spread = np.maximum.accumulate(np.abs(np.subtract(values, control)))
    return tuple(np.maximum(least, TIMES * spread).tolist())


class Blame:
    """Repeat a training run with some of the student's functions. tick(title) is called before each step."""

    def __init__(self, setup, parts, steps=STEPS, tick=lambda title: None):
        self.setup = setup
        self.parts = {part.op: part for part in parts}
        self.steps = min(steps, setup.config.train.steps)
        self.tick = tick
        self.losses = self.allowed = self.norms = self.allowed_norms = ()

    def expected(self) -> tuple[float, ...]:
        """Return the losses of training with the library's own functions. They are computed only once."""
        if not self.losses:
            self.losses, self.norms = self.run_through("the library's own")
            with override(**{op: perturbed(op) for op in self.parts}):
                losses, norms = self.run_through("the control")
            self.allowed = tolerances(self.losses, losses)
            self.allowed_norms = tolerances(self.norms, norms, ALLOWED_NORM * np.array(self.norms))
        return self.losses

    def run_through(self, title: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Train for all steps; return the losses and the gradient norms."""
        training, steps = self.setup.steps(), []
        for _ in range(self.steps):
            self.tick(title)
            steps.append(next(training))
        return tuple(step.loss for step in steps), tuple(step.grad_norm for step in steps)

    def trial(self, ops: Sequence[str], title: str) -> Trial:
        """Train with the student's functions `ops` until a loss or a gradient norm is out of tolerance."""
        expected, training = self.expected(), self.setup.steps()
        with plug_in([self.parts[op] for op in ops]), np.errstate(all="ignore"):
            for step, want in enumerate(expected, 1):
                self.tick(title)
                try:
                    done = next(training)
                    loss, norm = done.loss, done.grad_norm
                except PartFailure as failure:
                    return Trial(False, step, failure=failure)
                except UserError:  # the loss or the gradient is not finite
                    loss = norm = math.nan
                except (ValueError, TypeError, IndexError, AttributeError, ArithmeticError):
                    loss = norm = math.nan  # the library's own code failed on the part's results
                if not abs(loss - want) <= self.allowed[step - 1]:
                    return Trial(False, step, "loss", loss, want)
                if not abs(norm - self.norms[step - 1]) <= self.allowed_norms[step - 1]:
                    return Trial(False, step, "gradient norm", norm, self.norms[step - 1])
        return Trial(True)

    def find(self) -> Finding:
        """Find the functions to blame. The finding has no culprits if all losses are within tolerance."""
        ops = list(self.parts)
        whole = self.trial(ops, "all of yours")
        if whole.right:
            return Finding((), self.expected(), whole, {})
        ops = [op for op in ops if self.parts[op].calls] or ops  # functions never called are not to blame
        failures: dict[str, str] = {}

        def stays(some: list[str], title: str) -> bool:
            trial = self.trial(some, title)
            if trial.failure:
                failures.setdefault(trial.failure.op, str(trial.failure))
            return trial.right

        single = ops
        if len(ops) > 1:
            single = [op for op in ops if stays([x for x in ops if x != op], f"without your {op}")]
        if len(single) == 1:
            return Finding(tuple(single), self.expected(), whole, failures, confirmed=len(ops) > 1)
        guilty = tuple(op for op in ops if not stays([op], f"with your {op} alone"))
        if guilty:
            rest = [op for op in ops if op not in guilty]
            confirmed = bool(rest) and self.trial(rest, "with the others alone").right
            return Finding(guilty, self.expected(), whole, failures, confirmed=confirmed)
        return Finding(tuple(single or ops), self.expected(), whole, failures, together=True)
