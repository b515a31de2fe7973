"""Which of a student's functions spoils a training: swap them back one by one, until the loss comes right.

The library promises the same bits whoever runs it, so its own losses on a run's data, model and seed are
exact numbers. A right function of a student's may add in another order and differ in last bits; over the
first steps this moves a loss by some millionths; a wrong one moves it by hundredths, at once or a step later.
With a high rate, training makes much of little differences. So how much is allowed is measured too: by a
training on the specifications with every third number moved to its neighbour.

The gradient's norm is compared in the same way: clipping and AdamW hide a wrong factor in a backward from the
loss.
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

STEPS = 40  # of a trial; enough for every known mistake that training feels at all
ALLOWED = 2e-4  # nats, in any case
ALLOWED_NORM = 2e-4  # of the gradient's norm, in any case
TIMES = 20  # what rounding did in the control training, this many times, is allowed as well


@dataclass(frozen=True)
class Trial:
    """How a trial went: whether it was in range, the first step that was not, and why.

    There `what`, the loss or the gradient norm, is `got` where `want` is right.
    """

    right: bool
    step: int | None = None
    what: str = "loss"
    got: float | None = None
    want: float | None = None
    failure: PartFailure | None = None


@dataclass(frozen=True)
class Finding:
    """What is to blame: ops, in order; `losses` are the library's, `all_parts` is the trial with all."""

    culprits: tuple[str, ...]
    losses: tuple[float, ...]
    all_parts: Trial
    failures: dict
    together: bool = False  # no single part misses the range, only these in combination
    confirmed: bool = False  # the other parts, without these, are in range


def rounded_otherwise(op: str) -> Callable[..., Any]:
    """A right function with other last bits: the specification, every third number moved to its neighbour."""
    o = OPS[op]

    @functools.wraps(o.reference)
    def function(*args, **kwargs):
        value = o.reference(*args, **kwargs)
        return tuple(map(nudged, value)) if isinstance(value, tuple) else nudged(value)

    return function


def nudged(value: Any) -> Any:
    """An array of floats with every third number moved to the next; anything else as it is."""
    if not isinstance(value, np.ndarray | np.generic) or value.dtype.kind != "f":
        return value
    flat = np.array(value).reshape(-1)
    third = flat[::3]
    movable = np.isfinite(third) & (third != 0)
    flat[::3] = np.where(movable, np.nextafter(third, np.inf, dtype=flat.dtype), third)
    return flat.reshape(value.shape)


def allowed(values: Sequence[float], control: Sequence[float],
            least: float | np.ndarray = ALLOWED) -> tuple[float, ...]:
    """How far each step's loss, or another number, may be from the library's -> tuple of float."""
    spread = np.maximum.accumulate(np.abs(np.subtract(values, control)))
    return tuple(np.maximum(least, TIMES * spread).tolist())


class Blame:
    """Trials on one training run; `tick` is called with a title before each and after every step."""

    def __init__(self, setup, parts, steps=STEPS, tick=lambda title: None):
        self.setup = setup
        self.parts = {part.op: part for part in parts}
        self.steps = min(steps, setup.config.train.steps)
        self.tick = tick
        self.losses = self.allowed = self.norms = self.allowed_norms = ()

    def expected(self) -> tuple[float, ...]:
        """The losses of the library's own functions, once -> tuple of float."""
        if not self.losses:
            self.losses, self.norms = self.run_through("the library's own")
            with override(**{op: rounded_otherwise(op) for op in self.parts}):
                losses, norms = self.run_through("the control")
            self.allowed = allowed(self.losses, losses)
            self.allowed_norms = allowed(self.norms, norms, ALLOWED_NORM * np.array(self.norms))
        return self.losses

    def run_through(self, title: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The losses and gradient norms of a training that nothing stops -> two tuples of float."""
        training, steps = self.setup.steps(), []
        for _ in range(self.steps):
            self.tick(title)
            steps.append(next(training))
        return tuple(step.loss for step in steps), tuple(step.grad_norm for step in steps)

    def trial(self, ops: Sequence[str], title: str) -> Trial:
        """Train with some of the student's parts, until a loss or gradient leaves the range -> Trial."""
        expected, training = self.expected(), self.setup.steps()
        with plug_in([self.parts[op] for op in ops]), np.errstate(all="ignore"):
            for step, want in enumerate(expected, 1):
                self.tick(title)
                try:
                    done = next(training)
                    loss, norm = done.loss, done.grad_norm
                except PartFailure as failure:
                    return Trial(False, step, failure=failure)
                except UserError:  # the loss or the gradient is no longer finite
                    loss = norm = math.nan
                except (ValueError, TypeError, IndexError, AttributeError, ArithmeticError):
                    loss = norm = math.nan  # numbers that the library's own code cannot go on with
                if not abs(loss - want) <= self.allowed[step - 1]:
                    return Trial(False, step, "loss", loss, want)
                if not abs(norm - self.norms[step - 1]) <= self.allowed_norms[step - 1]:
                    return Trial(False, step, "gradient norm", norm, self.norms[step - 1])
        return Trial(True)

    def find(self) -> Finding:
        """Name the culprits -> Finding, whose culprits are empty when the losses are in range."""
        ops = list(self.parts)
        whole = self.trial(ops, "all of yours")
        if whole.right:
            return Finding((), self.expected(), whole, {})
        ops = [op for op in ops if self.parts[op].calls] or ops  # what was never called is innocent
        failures: dict[str, str] = {}
        single = [op for op in ops if self.without(ops, op, failures).right] if len(ops) > 1 else ops
        if len(single) == 1:
            return Finding(tuple(single), self.expected(), whole, failures, confirmed=len(ops) > 1)
        guilty = tuple(op for op in ops if not self.alone(op, failures).right)
        if guilty:
            rest = [op for op in ops if op not in guilty]
            confirmed = bool(rest) and self.trial(rest, "with the others alone").right
            return Finding(guilty, self.expected(), whole, failures, confirmed=confirmed)
        return Finding(tuple(single or ops), self.expected(), whole, failures, together=True)

    def without(self, ops: Sequence[str], op: str, failures: dict[str, str]) -> Trial:
        """A trial with one part back in the library's hands."""
        return self._noting([other for other in ops if other != op], f"without your {op}", failures)

    def alone(self, op: str, failures: dict[str, str]) -> Trial:
        """A trial with this part alone."""
        return self._noting([op], f"with your {op} alone", failures)

    def _noting(self, ops, title, failures):
        trial = self.trial(ops, title)
        if trial.failure:
            failures.setdefault(trial.failure.op, str(trial.failure))
        return trial
