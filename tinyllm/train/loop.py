"""Train any model with any objective on any kind of data, in one loop.

Read `Loop.__iter__` first: it calls all methods below. A run that was killed anywhere and resumed ends with
the same bits as an uninterrupted run. There are four reasons: batches and dropout are functions of the seed
and the step; evaluation and samples use separate random streams; a checkpoint stores all other state; and a
resumed run cuts the log back to its length at the checkpoint.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from tinyllm.config import check, setting
from tinyllm.data import Batch
from tinyllm.errors import UserError
from tinyllm.train import events
from tinyllm.train.events import STEP_FIELDS
from tinyllm.train.memory import peak_rss_mb
from tinyllm.train.optimizer import Optimizer, clipped_step, gradient_norm


class Diverged(UserError):
    """The error for a loss, gradient or weight that is not finite. `what` is the message without advice."""

    def __init__(self, what: str, advice: str):
        super().__init__(f"{what}; {advice}")
        self.what = what


@dataclass
class Progress:
    """The counters and sums of a run, which every checkpoint stores."""

    step: int = setting(0, min=0)
    best_step: int | None = setting(None, min=0)
    best_val_loss: float | None = None
    group: dict[str, float | None] = field(default_factory=dict)  # sums since the last log; None: not finite
    group_seconds: float = setting(0.0, min=0)
    seconds: float = setting(0.0, min=0)  # of training, without pauses

    def __post_init__(self):
        check(self, "progress.")

    def add(self, done: events.Stepped) -> None:
        """Add the numbers of a finished step to the counters and sums."""
        self.step += 1
        self.group_seconds += done.seconds
        counted = {"steps": 1, "tokens": done.tokens, "train_loss": done.loss, "grad_norm": done.grad_norm}
        if taken := done.numbers.keys() & {*counted, *STEP_FIELDS}:
            raise ValueError(f"the log has a field {min(taken)!r} already: the loss must use another name")
        for name, number in (counted | done.numbers).items():
            total = math.nan if (before := self.group.get(name, 0)) is None else before + number
            self.group[name] = total if math.isfinite(total) else None  # JSON has no infinity and no NaN

    def new_group(self) -> tuple[dict[str, Any], float | None]:
        """Return the means and the tokens per second since the last line of the log, and reset the sums."""
        sums: dict[str, Any] = self.group
        seconds = self.group_seconds
        self.group, self.group_seconds = {}, 0.0
        if not sums:
            return {}, None
        steps, tokens = sums.pop("steps"), sums.pop("tokens")
        means = {name: None if total is None else total / steps for name, total in sums.items()}
        return means, round(tokens / seconds, 1)


@dataclass
class Loop:
    """Train a model: `for event in train(model, batches, loss, optimizer, steps=100): ...`

    `batches(step)` returns the batch of a step: a `Batch`, or (tokens, targets). `loss(model, batch)` returns
    a Tensor, the mean over the targets that count, or (Tensor, {name: number}); the numbers are logged.
    Checkpoints save the state of `batches` and `loss` if they have `state_dict` and `load_state_dict`.

    Iterating raises Diverged when a loss or a gradient is not finite, and UserError when a file cannot be
    written. In both cases the checkpoints stay intact.
    """

    model: Any
    batches: Callable[[int], Any]
    loss: Callable[[Any, Any], Any]
    optimizer: Optimizer
    _: KW_ONLY
    steps: int
    schedule: Callable[[int], float] | None = None  # step -> learning rate
    accumulate: int = 1  # parts that a batch is split into, to save memory
    clip: float = 1.0  # the largest gradient norm; 0: no limit
    evaluate: Any = None  # model -> {"val_loss": ..., ...}
    sample: Any = None  # model -> text
    checkpoint: Any = None  # a `Run`, which keeps log and checkpoints
    all_reduce: Callable[[list], list] | None = None  # arrays -> their sums over all processes
    seed: int = 0  # selects the random numbers of dropout
    eval_every: int = 100
    sample_every: int = 500
    log_every: int = 10
    checkpoint_every: int = 200
    about: dict[str, Any] | None = None  # the first line of the log
    progress: Progress = field(default_factory=Progress)  # where to continue; see `Run.restore`
    stop: Callable[[], bool] = lambda: False  # if true, save and end after the current step

    def __iter__(self) -> Iterator[Any]:
        progress = self.progress
        self.began = time.perf_counter() - progress.seconds
        yield events.Started(progress.step, self.steps)
        if progress.step == 0:
            yield from self.begin()
        while progress.step < self.steps and not self.stop():
            yield self.train_step()
            last = progress.step == self.steps
            evaluation = None
            if self.evaluate and (last or progress.step % self.eval_every == 0):
                yield (evaluation := self.measure())
            if self.sample and (last or progress.step % self.sample_every == 0):
                yield self.write()
            if last or evaluation or progress.step % self.log_every == 0:
                yield self.log(evaluation)
            saving = last or progress.step % self.checkpoint_every == 0 or (evaluation and evaluation.best)
            if self.checkpoint and saving:
                yield self.save()
        if progress.step < self.steps:
            if self.checkpoint and progress.step:  # at step 0 there is nothing to save
                yield self.save()
            yield events.Stopped(progress.step)

    def begin(self) -> Iterator[Any]:
        """Write the first lines of the log: the data, and the evaluation of the untrained model."""
        if self.checkpoint and self.about is not None:
            self.checkpoint.log.append({"kind": "data"} | self.about)
        evaluation = None
        if self.evaluate:
            yield (evaluation := self.measure())
        if self.sample:
            yield self.write()
        if self.evaluate:
            yield self.log(evaluation)

    def train_step(self) -> events.Stepped:
        """Do one update: forward pass, backward pass, clipping, and the optimizer's step."""
        began = time.perf_counter()
        step, optimizer = self.progress.step, self.optimizer
        batch = self.batches(step)
        batch = Batch(*batch) if isinstance(batch, tuple) else batch  # (tokens, targets), perhaps weights
        self.model.train().dropout_stream(self.seed, step)
        loss, numbers = forward_backward(self.model, batch, self.loss, self.accumulate, self.all_reduce)
        grad_norm = gradient_norm(optimizer.parameters)
        self.check_finite(step + 1, "loss", loss)
        self.check_finite(step + 1, "gradient norm", grad_norm)  # before it reaches the weights
        if self.schedule:
            optimizer.lr = self.schedule(step)
        clipped_step(optimizer, grad_norm, self.clip)
        optimizer.zero_grad()
        for _, part in self.model.named_modules():
            part.after_step()
        seconds = time.perf_counter() - began
        tokens = batch.tokens.size
        done = events.Stepped(step + 1, loss, optimizer.lr, grad_norm, tokens, seconds, numbers)
        self.progress.add(done)
        return done

    def measure(self) -> events.Evaluated:
        """Evaluate the model, and remember the step if its loss is the lowest so far."""
        progress = self.progress
        numbers = self.evaluate(self.model)
        loss = numbers["val_loss"]
        self.check_finite(progress.step, "validation loss", loss)
        best = progress.step > 0 and (progress.best_val_loss is None or loss < progress.best_val_loss)
        if best:
            progress.best_step, progress.best_val_loss = progress.step, loss
        return events.Evaluated(progress.step, loss, numbers.get("val_loss_per_char"), best, numbers)

    def write(self) -> events.Sampled:
        """Generate a sample, and log it."""
        text = self.sample(self.model)
        if self.checkpoint:
            self.checkpoint.log.append({"kind": "sample", "step": self.progress.step, "text": text})
        return events.Sampled(self.progress.step, text)

    def log(self, evaluation: events.Evaluated | None = None) -> events.Logged:
        """Add a line to the log: means since the last line, and the evaluation, if there is one."""
        progress = self.progress
        progress.seconds = time.perf_counter() - self.began
        means, tokens_per_second = progress.new_group()
        measured = evaluation.numbers.items() if evaluation else ()
        record = {
            "kind": "step",
            "step": progress.step,
            "train_loss": means.get("train_loss"),
            "val_loss": None,
            "val_loss_per_char": None,
            **{name: x if x is None or math.isfinite(x) else None for name, x in measured},
            "lr": self.optimizer.lr if means else None,
            "grad_norm": means.get("grad_norm"),
            **means,
            "tokens_per_second": tokens_per_second,
            "seconds": round(progress.seconds, 3),
            "peak_rss_mb": peak_rss_mb(),
        }
        if self.checkpoint:
            self.checkpoint.log.append(record)
        return events.Logged(record)

    def save(self) -> events.Saved:
        """Write a checkpoint, then delete all checkpoints but the last and the best."""
        progress = self.progress
        progress.seconds = time.perf_counter() - self.began
        for name, array in self.model.state_dict().items():
            self.check_finite(progress.step, f"sum of {name}", float(array.sum()))
        states = stateful(optimizer=self.optimizer, batches=self.batches, loss=self.loss)
        return events.Saved(progress.step, self.checkpoint.save(self.model, states, progress))

    def check_finite(self, step: int, what: str, value: float) -> None:
        """Raise Diverged if a value is not finite, so that nothing computed from it is saved."""
        if not math.isfinite(value):
            last = self.checkpoint.last_checkpoint() if self.checkpoint else None
            kept = f"the last good checkpoint is {last}" if last else "no checkpoint had been saved yet"
            what = f"the {what} is {value} at step {step}: training has blown up; {kept}"
            raise Diverged(what, "try a smaller --lr")


train = Loop  # so that one can write `for event in train(...)`


def stateful(**parts: Any) -> dict[str, Any]:
    """Return the parts of a training run that have a `state_dict`, because checkpoints save them."""
    return {name: part for name, part in parts.items() if hasattr(part, "state_dict")}


def forward_backward(
    model: Any, batch: Any, loss: Callable, accumulate: int = 1, all_reduce: Callable | None = None
) -> tuple[float, dict[str, float]]:
    """Add a batch's gradients to the parameters; return the mean loss, and means of other reported numbers.

    With `accumulate=n` the batch is computed in n parts, so that only one part's activations are in memory.
    Each part is weighted by its share of the targets that count, so loss and gradients do not change.
    With `all_reduce` the mean is over the batches of all processes.

    Raises UserError when no target of the batch counts.
    """
    count = batch.count
    total = all_reduce([count])[0] if all_reduce else count
    if not total > 0:
        raise UserError("no target of a batch counts: check the data, or take a larger context")
    value = 0.0
    means: dict[str, float] = {}
    for piece in batch.split(accumulate) if count else [batch]:  # an empty batch gives the numbers' names
        share = piece.count / total
        if count and not share:
            continue
        result = loss(model, piece)
        result, numbers = result if isinstance(result, tuple) else (result, {})
        if share:
            scaled = result * share
            scaled.backward()
            value += scaled.item()
        for name, number in numbers.items():
            means[name] = means.get(name, 0.0) + (share and share * float(number))
    if all_reduce:
        parameters = model.parameters(trainable=True)
        grads = [np.zeros_like(p.data) if p.grad is None else p.grad for p in parameters]
        for p, grad in zip(parameters, all_reduce(grads), strict=True):
            p.grad = grad
        value, *sums = all_reduce([value, *means.values()])
        means = dict(zip(means, sums, strict=True))
    return value, means
