"""The training loop, for every model, every objective and every kind of data.

Read `Loop.__iter__` first: it is the whole story, and every line of it is a method below. A run that was
killed anywhere and resumed ends with the same bits as one that was not. That is not luck but four habits:
batches and dropout are functions of the seed and the step, evaluation and samples draw from streams of
their own, all that is carried from one step to the next stands in `Progress` or in an array that a
checkpoint holds, and the log is cut back to where the checkpoint was.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tinyllm.data import Batch
from tinyllm.errors import UserError
from tinyllm.train import events
from tinyllm.train.log import peak_rss_mb
from tinyllm.train.optimizer import AdamW, clipped_step, gradient_norm


class Diverged(UserError):
    """A number that must be finite is not: `what` says which and what is kept, without the advice."""

    def __init__(self, what, advice):
        super().__init__(f"{what}; {advice}")
        self.what = what


@dataclass
class Progress:
    """What is carried from one step to the next besides arrays; every checkpoint holds it.

    The `group_` fields add up since the last step that was logged.
    """

    step: int = 0
    best_step: int | None = None
    best_val_loss: float | None = None
    group_steps: int = 0
    group_tokens: int = 0
    group_loss: float = 0.0
    group_grad_norm: float = 0.0
    group_seconds: float = 0.0
    group_numbers: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0  # since the run began, without the breaks

    def add(self, done: events.Stepped) -> None:
        """Count one more step."""
        self.step += 1
        self.group_steps += 1
        self.group_tokens += done.tokens
        self.group_loss += done.loss
        self.group_grad_norm += done.grad_norm
        self.group_seconds += done.seconds
        for name, number in done.numbers.items():
            self.group_numbers[name] = self.group_numbers.get(name, 0.0) + number

    def new_group(self) -> None:
        """Forget the steps that have been logged."""
        self.group_steps = self.group_tokens = 0
        self.group_loss = self.group_grad_norm = self.group_seconds = 0.0
        self.group_numbers = {}


@dataclass(frozen=True)
class Every:
    """The number of steps between two evaluations, samples, lines of the log and checkpoints."""

    evaluate: int = 100
    sample: int = 500
    log: int = 10
    save: int = 200


def train(
    model: Any,
    batches: Callable[[int], Any],
    loss: Callable[[Any, Any], Any],
    optimizer: AdamW,
    *,
    steps: int,
    schedule: Callable[[int], float] | None = None,
    accumulate: int = 1,
    clip: float = 1.0,
    evaluate: Callable[[Any], dict[str, float]] | None = None,
    sample: Callable[[Any], str] | None = None,
    checkpoint: Any = None,
    all_reduce: Callable[[list], list] | None = None,
    every: Every | None = None,
    seed: int = 0,
    about: dict[str, Any] | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> "Loop":
    """Return an iterable that trains a model and yields an event for each thing that happens (see `events`).

    `batches(step)` returns the batch of a step: a `Batch`, or (tokens, targets). `loss(model, batch)` returns
    a Tensor, the mean over what counts in the batch, or (Tensor, {name: number}); the numbers go into the
    log. Either may have `state_dict` and `load_state_dict`, and is then saved in checkpoints.

    `schedule(step)` returns the learning rate; `accumulate` splits a batch into parts to save memory; `clip`
    bounds the length of the gradient (0: no bound). `evaluate(model)` returns {"val_loss": ..., ...},
    `sample(model)` a text. `all_reduce(list of arrays)` returns their sums over all processes. `checkpoint`
    keeps log and checkpoints (`Run`); `progress` is where to go on, from its `restore`. `about` becomes the
    log's first line. When `stop()` is true, the run saves itself and ends after the step at hand.

    Raises Diverged when a loss or a gradient is not finite, and UserError when the disk refuses; the
    checkpoints are then whole.
    """
    return Loop(**locals())


@dataclass
class Loop:
    """The state of `train`, whose arguments are its fields."""

    model: Any
    batches: Any
    loss: Any
    optimizer: AdamW
    steps: int
    schedule: Any
    accumulate: int
    clip: float
    evaluate: Any
    sample: Any
    checkpoint: Any
    all_reduce: Any
    every: Every | None
    seed: int
    about: dict | None
    progress: Progress | None
    stop: Any

    def __iter__(self) -> Iterator[Any]:
        """Yield what happens, from where `progress` stands to the last step."""
        progress = self.progress = self.progress or Progress()
        every = self.every = self.every or Every()
        self.began = time.perf_counter() - progress.seconds
        record = None
        yield events.Started(progress.step, self.steps)
        if progress.step == 0:
            yield from self.begin()
        while progress.step < self.steps and not (self.stop and self.stop()):
            yield self.train_step()
            last = progress.step == self.steps
            evaluation = None
            if self.evaluate and (last or progress.step % every.evaluate == 0):
                yield (evaluation := self.measure())
            if self.sample and (last or progress.step % every.sample == 0):
                yield self.write()
            if last or evaluation or progress.step % every.log == 0:
                yield (record := self.log(evaluation))
            saving = last or progress.step % every.save == 0 or (evaluation and evaluation.best)
            if self.checkpoint and saving:
                yield self.save()
        if progress.step < self.steps:
            if self.checkpoint and progress.step:  # at step 0 a new start would do the same again
                yield self.save()
            yield events.Stopped(progress.step)
        else:
            yield events.Finished(progress.step, record.record if record else {})

    def begin(self):
        """Log what the run is about, and how good the untrained model is."""
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
        """Do one update: forward, backward, clip, step."""
        began = time.perf_counter()
        step, optimizer = self.progress.step, self.optimizer
        batch = as_batch(self.batches(step))
        self.model.train().dropout_stream(self.seed, step)
        loss, numbers = forward_backward(self.model, batch, self.loss, self.accumulate, self.all_reduce)
        grad_norm = gradient_norm(optimizer.parameters)
        self.check_finite(step + 1, "loss", loss)
        self.check_finite(step + 1, "gradient norm", grad_norm)  # now, before it spoils every weight
        if self.schedule:
            optimizer.lr = self.schedule(step)
        clipped_step(optimizer, grad_norm, self.clip)
        optimizer.zero_grad()
        seconds = time.perf_counter() - began
        tokens = batch.tokens.size
        done = events.Stepped(step + 1, loss, optimizer.lr, grad_norm, tokens, seconds, numbers)
        self.progress.add(done)
        return done

    def measure(self) -> events.Evaluated:
        """Evaluate the model, and see whether it is the best so far."""
        progress = self.progress
        numbers = self.evaluate(self.model)
        loss = numbers["val_loss"]
        self.check_finite(progress.step, "validation loss", loss)
        best = progress.step > 0 and (progress.best_step is None or loss < progress.best_val_loss)
        if best:
            progress.best_step, progress.best_val_loss = progress.step, loss
        return events.Evaluated(progress.step, loss, numbers.get("val_loss_per_char"), best, numbers)

    def write(self) -> events.Sampled:
        """Let the model write a sample, and log it."""
        text = self.sample(self.model)
        if self.checkpoint:
            self.checkpoint.log.append({"kind": "sample", "step": self.progress.step, "text": text})
        return events.Sampled(self.progress.step, text)

    def log(self, evaluation=None) -> events.Logged:
        """Add a line to the log: means since the last line, and the evaluation if this step had one."""
        progress = self.progress
        n = progress.group_steps
        progress.seconds = time.perf_counter() - self.began
        record = {
            "kind": "step",
            "step": progress.step,
            "train_loss": progress.group_loss / n if n else None,
            "val_loss": None,
            "val_loss_per_char": None,
            **(evaluation.numbers if evaluation else {}),
            "lr": self.optimizer.lr if n else None,
            "grad_norm": progress.group_grad_norm / n if n else None,
            **{name: total / n for name, total in progress.group_numbers.items()},
            "tokens_per_second": round(progress.group_tokens / progress.group_seconds, 1) if n else None,
            "seconds": round(progress.seconds, 3),
            "peak_rss_mb": peak_rss_mb(),
        }
        progress.new_group()
        if self.checkpoint:
            self.checkpoint.log.append(record)
        return events.Logged(record)

    def save(self) -> events.Saved:
        """Write a checkpoint, then delete those that are neither the last nor the best."""
        progress = self.progress
        progress.seconds = time.perf_counter() - self.began
        for name, array in self.model.state_dict().items():
            self.check_finite(progress.step, f"sum of {name}", float(array.sum()))
        states = stateful(optimizer=self.optimizer, batches=self.batches, loss=self.loss)
        return events.Saved(progress.step, self.checkpoint.save(self.model, states, progress))

    def check_finite(self, step, what, value):
        """Stop the run when a number that must be finite is not. Nothing spoilt has been saved by then."""
        if not math.isfinite(value):
            last = self.checkpoint.last_checkpoint() if self.checkpoint else None
            kept = f"the last good checkpoint is {last}" if last else "no checkpoint had been saved yet"
            what = f"the {what} is {value} at step {step}: training has blown up; {kept}"
            raise Diverged(what, "try a smaller --lr")


def as_batch(batch: Any) -> Any:
    """Return a batch as it is, and (tokens, targets) or (tokens, targets, weights) as a `Batch`."""
    return Batch(*batch) if isinstance(batch, tuple) else batch


def stateful(**parts: Any) -> dict[str, Any]:
    """Return those of the parts of a training run that have a state to be saved."""
    return {name: part for name, part in parts.items() if hasattr(part, "state_dict")}


def forward_backward(
    model: Any, batch: Any, loss: Callable, accumulate: int = 1, all_reduce: Callable | None = None
) -> tuple[float, dict[str, float]]:
    """Add the gradients of a batch to the parameters -> (mean loss, {name: mean of the loss's numbers}).

    With `accumulate` n the batch goes through in n parts. Each part's mean counts by its share of all targets
    that count, so the sum is the mean of the whole batch and the gradient is the same, while only a part's
    activations are in memory. With `all_reduce` the whole is that of all processes.

    Raises UserError when nothing in the batch counts.
    """
    count = batch.count
    total = all_reduce([count])[0] if all_reduce else count
    if not total > 0:
        raise UserError("no target of a batch counts: check the data, or take a larger context")
    value, means = 0.0, {}
    for piece in batch.split(accumulate) if count else ():
        if not (share := piece.count / total):
            continue
        result = loss(model, piece)
        result, numbers = result if isinstance(result, tuple) else (result, {})
        scaled = result * share
        scaled.backward()
        value += scaled.item()
        for name, number in numbers.items():
            means[name] = means.get(name, 0.0) + share * float(number)
    if all_reduce:
        with_grad = [p for p in model.parameters() if p.grad is not None]
        for p, grad in zip(with_grad, all_reduce([p.grad for p in with_grad]), strict=True):
            p.grad = grad
        value, *sums = all_reduce([value, *means.values()])
        means = dict(zip(means, sums, strict=True))
    return value, means
