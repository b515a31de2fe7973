"""Train any model with any objective on any kind of data, in one loop.

Read `Loop.__iter__` first: it calls all methods below. A run that was killed anywhere and resumed ends with
the same bits as an uninterrupted run. There are four reasons: batches and dropout are functions of the seed
and the step; evaluation and samples use separate random streams; a checkpoint stores all other state; and a
resumed run cuts the log back to its length at the checkpoint.

Several processes, a `Group`, end with the bits of one. All of them know the whole batch, evaluate, and decide
alike when to save or to stop; each computes some pieces of the batch; process 0 writes samples and files.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.config import check, setting
from tinyllm.data import Batch
from tinyllm.errors import UserError
from tinyllm.nn.lora import adapters
from tinyllm.nn.module import Module
from tinyllm.train import events
from tinyllm.train.events import STEP_FIELDS
from tinyllm.train.group import ALONE, Group
from tinyllm.train.memory import peak_rss_mb
from tinyllm.train.optimizer import AdamW, clipped_step, gradient_norm

SMALLER = "; try a smaller --lr"
BUCKET = 2**18  # numbers of small gradients that are added together, because each sum costs two messages


class Diverged(UserError):
    """Report a loss, gradient or weight that is not finite."""


@dataclass
class Progress:
    """The counters and sums of a run, which every checkpoint stores."""

    step: int = setting(0, min=0)
    best_step: int | None = setting(None, min=0)
    best_val_loss: float | None = None
    unlogged: dict[str, float | None] = field(default_factory=dict)  # sums since the last line of the log
    unlogged_steps: dict[str, int] = field(default_factory=dict)  # how many steps had each of these numbers
    unlogged_seconds: float = setting(0.0, min=0)
    seconds: float = setting(0.0, min=0)  # spent in training, pauses between resumed parts excluded

    def __post_init__(self):
        check(self, "progress.")

    def add(self, done: events.Stepped) -> None:
        """Add the numbers of a finished step to the counters and sums."""
        self.step += 1
        self.unlogged_seconds += done.seconds
        counted = {"steps": 1, "tokens": done.tokens, "train_loss": done.loss, "grad_norm": done.grad_norm}
        if taken := done.numbers.keys() & {*counted, *STEP_FIELDS}:
            raise ValueError(f"the log has a field {min(taken)!r} already: the loss must use another name")
        for name, number in (counted | done.numbers).items():
            total = math.nan if (before := self.unlogged.get(name, 0)) is None else before + number
            self.unlogged[name] = total if math.isfinite(total) else None  # JSON has no infinity and no NaN
            self.unlogged_steps[name] = self.unlogged_steps.get(name, 0) + 1

    def take_means(self) -> dict[str, Any]:
        """Return the means and the tokens per second since the last line of the log, and reset the sums."""
        sums: dict[str, Any] = self.unlogged
        counts, seconds = self.unlogged_steps, self.unlogged_seconds
        self.unlogged, self.unlogged_steps, self.unlogged_seconds = {}, {}, 0.0
        if not sums:
            return {}
        steps, tokens = sums.pop("steps"), sums.pop("tokens")
        means = {name: None if x is None else x / counts.get(name, steps) for name, x in sums.items()}
        return means | {"tokens_per_second": round(tokens / seconds, 1)}


@dataclass
class Loop:
    """Train a model: `for event in train(model, batches, loss, optimizer, steps=100): ...`

    `batches(step)` returns the batch of a step: a `Batch`, or (tokens, targets). `loss(model, batch)` returns
    a Tensor, the mean over the targets that count, or (Tensor, {name: number}); the numbers are logged. A
    loss that is a Module, such as one with a value model, is trained, too.
    Checkpoints save the state of `batches` and `loss` if they have `state_dict` and `load_state_dict`.

    Iterating raises Diverged when a loss, a gradient or a weight to be saved is not finite, and UserError
    when a file cannot be written. In both cases the checkpoints stay intact.
    """

    model: Any
    batches: Callable[[int], Any]
    loss: Callable[[Any, Any], Any]
    optimizer: AdamW  # or Muon
    _: KW_ONLY
    steps: int
    schedule: Callable[[int], float] | None = None  # step -> learning rate
    accumulate: int = 1  # into how many pieces a batch is split, to save memory or for several processes
    precision: str = "float32"  # of the numbers that matrix products read in a step, or "bf16"
    clip: float = 1.0  # the largest gradient norm; 0: no limit
    report: Callable[[Any], dict[str, float]] = lambda batch: {}  # batch -> more numbers to log
    evaluate: Any = None  # model -> {"val_loss": ..., ...}
    sample: Any = None  # model -> text
    checkpoint: Any = None  # a `Run`, which keeps log and checkpoints
    group: Group = ALONE  # the processes that train this model together
    private: Any = None  # a `Private`: no example changes the weights more than noise would hide
    secret: Any = None  # the `Secret` of a private training, which checkpoints keep
    seed: int = 0  # selects the random numbers of dropout
    eval_every: int = 100
    sample_every: int = 500
    log_every: int = 10
    checkpoint_every: int = 200
    about: dict[str, Any] | None = None  # the first line of the log
    progress: Progress = field(default_factory=Progress)  # where to continue; see `Run.restore`
    stop: Callable[[], bool] = lambda: False  # if true in any process, save and end after the current step

    def __post_init__(self):
        require_pieces(self.accumulate, self.group.copies)

    def __iter__(self) -> Iterator[Any]:
        progress = self.progress
        if not adapters(self.model):  # training changes the weights, so `origin` is wrong
            vars(self.model).pop("origin", None)
        self.began = time.perf_counter() - progress.seconds
        yield events.Started(progress.step, self.steps)
        if progress.step == 0:
            yield from self.begin()
        while progress.step < self.steps and not any(self.group.gather(self.stop())):
            with ops.use(matmul="bf16") if self.precision == "bf16" else nullcontext():
                done = self.train_step()
            yield done
            last = progress.step == self.steps
            evaluation = None
            if self.evaluate and (last or progress.step % self.eval_every == 0):
                yield (evaluation := self.measure())
            if last or progress.step % self.sample_every == 0:
                yield from self.write()
            if last or evaluation or progress.step % self.log_every == 0:
                yield self.log(evaluation)
            if last or progress.step % self.checkpoint_every == 0 or (evaluation and evaluation.best):
                self.save()
        if progress.step < self.steps:
            self.save()
            yield events.Stopped(progress.step)

    def begin(self) -> Iterator[Any]:
        """Write the first lines of the log: the data, and the evaluation of the untrained model."""
        if self.about is not None:
            self.append({"kind": "data"} | self.about)
        if evaluation := self.measure() if self.evaluate else None:
            yield evaluation
        yield from self.write()
        if evaluation:
            yield self.log(evaluation)

    def train_step(self) -> events.Stepped:
        """Do one update: forward pass, backward pass, clipping, and the optimizer's step."""
        began = time.perf_counter()
        step, optimizer = self.progress.step, self.optimizer
        if self.private:
            self.private.check_budget(step + 1, self.save)
        batch = self.batches(step)
        batch = Batch(*batch) if isinstance(batch, tuple) else batch  # (tokens, targets), perhaps weights
        loss, numbers = self.gradients(batch)
        numbers |= self.report(batch)
        grad_norm = self.gradient_norm()
        self.check_finite(step + 1, "loss", loss)
        self.check_finite(step + 1, "gradient norm", grad_norm)  # before the weights change
        if self.schedule:
            optimizer.lr = self.schedule(step)
        clipped_step(optimizer, grad_norm, self.clip)
        optimizer.zero_grad()
        seconds = time.perf_counter() - began
        done = events.Stepped(step + 1, loss, optimizer.lr, grad_norm, batch.tokens.size, seconds, numbers)
        self.progress.add(done)
        return done

    def gradients(self, batch: Batch) -> tuple[float, dict[str, float]]:
        """Add the gradients of a batch to the parameters; return the mean loss, and other numbers."""
        model, key = self.model.train(), (self.seed, self.progress.step)
        return forward_backward(model, batch, self.loss, self.accumulate, self.group, key, self.private)

    def gradient_norm(self) -> float:
        """Return the norm of the gradient of all parameters."""
        return gradient_norm(self.optimizer.parameters)

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

    def write(self) -> Iterator[events.Sampled]:
        """If the loop has `sample`, generate a sample and log it, in process 0 only."""
        if self.sample and self.group.rank == 0:
            text = self.sample(self.model)
            self.append({"kind": "sample", "step": self.progress.step, "text": text})
            yield events.Sampled(self.progress.step, text)

    def log(self, evaluation: events.Evaluated | None = None) -> events.Logged:
        """Add a line to the log: means since the last line, and the evaluation, if there is one."""
        progress = self.progress
        progress.seconds = time.perf_counter() - self.began
        means, measured = progress.take_means(), evaluation.numbers if evaluation else {}
        record = {"kind": "step", "step": progress.step} | dict.fromkeys(STEP_FIELDS)
        record |= {name: x if x is None or math.isfinite(x) else None for name, x in measured.items()} | means
        record |= {"lr": self.optimizer.lr if means else None, "seconds": round(progress.seconds, 3),
                   "peak_rss_mb": peak_rss_mb()}
        if (spent := self.epsilon()) is not None:
            record["epsilon"] = spent
        self.append(record)
        return events.Logged(record)

    def epsilon(self) -> float | None:
        """Return how much of epsilon a private training has spent, or None."""
        return self.private.spent(self.progress.step) if self.private else None

    def append(self, record: dict[str, Any]) -> None:
        """Write a line to the log, if there is a log, in process 0 only."""
        if self.checkpoint and self.group.rank == 0:
            self.checkpoint.log.append(record)

    def save(self) -> None:
        """Check the weights; in process 0, write a checkpoint, and delete all but this and the best one."""
        progress = self.progress
        if not self.checkpoint or progress.step == 0:  # at step 0 there is nothing to save
            return
        for name, array in trained(self.model, self.loss).state_dict().items():
            self.check_finite(progress.step, f"sum of {name}", float(array.sum()))
        states = self.states()  # in all processes, as Zero needs
        if self.group.rank == 0:
            progress.seconds = time.perf_counter() - self.began
            self.checkpoint.save(self.model, states, progress)

    def states(self) -> dict[str, dict[str, np.ndarray]]:
        """Return the states that a checkpoint saves, such as that of the optimizer."""
        return {name: part.state_dict() for name, part in self.stateful().items()}

    def stateful(self) -> dict[str, Any]:
        """Return {name: part} of all parts that have a `state_dict`, because checkpoints save them."""
        parts = {"optimizer": self.optimizer, "batches": self.batches, "loss": self.loss,
                 "private": self.secret}
        return {name: part for name, part in parts.items() if hasattr(part, "state_dict")}

    def check_finite(self, step: int, what: str, value: float) -> None:
        """Raise Diverged if a value is not finite, so that nothing computed from it is saved."""
        if not math.isfinite(value):
            last = self.checkpoint.last_checkpoint() if self.checkpoint else None
            kept = f"the last good checkpoint is {last}" if last else "no checkpoint had been saved yet"
            raise Diverged(f"the {what} is {value} at step {step}: training has blown up; {kept}{SMALLER}")


def require_pieces(pieces: int, size: int) -> None:
    """Raise UserError if a batch has fewer pieces than there are processes."""
    if pieces < size:
        raise UserError(f"a batch in {pieces} pieces (train.accumulate) has none for some of {size} "
                        f"processes: start at most {pieces}, or a new run with train.accumulate={size}")


train = Loop  # users write `for event in train(...)`


def trained(model: Any, loss: Any) -> Module:
    """Return what an optimizer trains: the model, or both if the loss is a Module, too."""
    if not isinstance(loss, Module):
        return model
    both = Module()
    both.model, both.loss = model, loss  # type: ignore[attr-defined]
    return both


def forward_backward(model: Any, batch: Any, loss: Callable, accumulate: int = 1, group: Group = ALONE,
                     key: tuple = (), private: Any = None) -> tuple[float, dict[str, float]]:
    """Add a batch's gradients to the parameters; return the mean loss, and means of other reported numbers.

    With `accumulate=n` the batch is computed in n pieces, so that only one piece's activations are in memory.
    Each piece is weighted by its share of the targets that count, so loss and gradients do not change. The
    processes of a group get the same batch, and take turns with its pieces. `key`, such as (seed, step),
    selects the random numbers of dropout; with its last part, a `private` training selects its noise.

    Raises UserError when no target of the batch counts.
    """
    pieces, total = counted_pieces(batch, accumulate, bool(private))  # which may draw no example
    parameters = trained(model, loss).parameters(trainable=True)
    value = 0.0
    means: dict[str, float] = {}
    for first in range(0, len(pieces), group.size):
        if group.rank > 0:  # only process 0 keeps the sum so far; the others add new gradients to it
            for p in parameters:
                p.grad = None
        number, result = first + group.rank, None
        if number < len(pieces):
            model.dropout_stream(*key, piece=number)
            gradients = private.piece_gradients if private else piece_gradients
            result = gradients(model, pieces[number], loss, pieces[number].count / total)
        add_gradients(parameters, group)
        for part, numbers in filter(None, group.gather(result)):
            value += part
            for name, x in numbers.items():
                means[name] = means.get(name, 0.0) + x
    if private:
        private.finish(model, *key[1:])
    return value, means


def counted_pieces(batch: Any, accumulate: int, empty: bool = False) -> tuple[list[Any], float]:
    """Return the pieces of a batch that have targets, and the count of all its targets.

    Raises UserError when no target of the batch counts, unless it may be empty.
    """
    total = batch.count
    if not total > 0 and not empty:
        raise UserError("no target of a batch counts: check the data, or take a larger context")
    return [piece for piece in batch.split(accumulate) if piece.count], total


def piece_gradients(model: Any, piece: Any, loss: Callable, share: float) -> tuple[float, dict[str, float]]:
    """Add the gradients of loss * share to the parameters; return loss and numbers, both times `share`."""
    result = loss(model, piece)
    result, numbers = result if isinstance(result, tuple) else (result, {})
    scaled = result * share
    scaled.backward()
    return scaled.item(), {name: share * float(number) for name, number in numbers.items()}


def add_gradients(parameters: list[Any], group: Group) -> None:
    """Replace gradients by their sums over a group; one that is None in all processes stays None."""
    if group.size == 1:
        return
    found = group.gather([p.grad is not None for p in parameters])
    shared = [p for p, *flags in zip(parameters, *found, strict=True) if any(flags)]
    ends = itertools.accumulate(p.data.size for p in shared)
    for _, pairs in itertools.groupby(zip(ends, shared, strict=True), lambda pair: pair[0] // BUCKET):
        bucket = [p for _, p in pairs]  # a missing gradient becomes -0.0, because x + -0.0 has the bits of x
        grads = [np.full_like(p.data, -0.0) if p.grad is None else p.grad for p in bucket]
        total = group.all_reduce(np.concatenate([grad.reshape(-1) for grad in grads]))
        for p, part in zip(bucket, np.split(total, np.cumsum([g.size for g in grads])[:-1]), strict=True):
            p.grad = part.reshape(p.shape)
