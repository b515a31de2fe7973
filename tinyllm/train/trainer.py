"""The training loop.

Read `Trainer.__iter__` first: it is the whole story, and every line of it is a method below. A run that was
killed anywhere and resumed ends with the same bits as one that was not. That is not luck but four habits:
batches and dropout are functions of the seed and the step, evaluation and samples draw from streams of
their own, all that is carried from one step to the next stands in `Progress` or in an array that a
checkpoint holds, and the log is cut back to where the checkpoint was.
"""

import math
import time
from dataclasses import asdict, dataclass

from tinyllm.data import get_batch
from tinyllm.errors import UserError
from tinyllm.generate import generate
from tinyllm.sampling import Sampling
from tinyllm.train import events
from tinyllm.train.checkpoint import load_arrays, prune_checkpoints, read_state, save_checkpoint
from tinyllm.train.evaluate import count_characters, evaluate
from tinyllm.train.log import peak_rss_mb, read_log
from tinyllm.train.optimizer import AdamW, clipped_step, decay_groups, gradient_norm
from tinyllm.train.schedule import learning_rate


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
    group_loss: float = 0.0
    group_grad_norm: float = 0.0
    group_seconds: float = 0.0
    seconds: float = 0.0  # since the run began, without the breaks

    def add(self, loss, grad_norm, seconds):
        """Count one more step."""
        self.step += 1
        self.group_steps += 1
        self.group_loss += loss
        self.group_grad_norm += grad_norm
        self.group_seconds += seconds

    def new_group(self):
        """Forget the steps that have been logged."""
        self.group_steps = 0
        self.group_loss = self.group_grad_norm = self.group_seconds = 0.0


class Trainer:
    """Train a model, and say what happens: `for event in Trainer(run, experiment): ...`

    `run` is the folder (`Run`), `experiment` what to train on what (`Experiment`, from `prepare`). Nothing
    is printed: events are yielded (see `events`). Set `stop_requested` at any time, and the run saves
    itself and ends after the step at hand. Iterating raises Diverged when the loss is no longer finite, and
    UserError when the disk refuses; the checkpoints are then whole.
    """

    def __init__(self, run, experiment):
        self.run = run
        self.experiment = experiment
        self.model = experiment.model
        self.tokenizer = experiment.tokenizer
        self.seed = experiment.config.seed
        self.config = config = experiment.config.train
        groups = decay_groups(self.model.parameters(), config.weight_decay)
        self.optimizer = AdamW(groups, config.lr, (config.beta1, config.beta2), config.eps)
        self.progress = Progress()
        self.stop_requested = False
        self._characters = count_characters(self.tokenizer)

    def resume(self):
        """Go back to the last checkpoint, or to the start if there is none yet.

        Raises UserError when the checkpoint is damaged, or more steps are done than the settings ask for.
        """
        log_bytes = 0
        if path := self.run.last_checkpoint():
            state = read_state(path)
            try:
                self.progress, log_bytes = Progress(**state["progress"]), int(state["log_bytes"])
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(f"{path} was not saved by this version of tinyllm ({error})") from error
            if self.progress.step > self.config.steps:
                raise UserError(
                    f"this run has done {self.progress.step} steps already: give it more than that"
                )
            load_arrays(path, "model", self.model.load_state_dict)
            load_arrays(path, "optimizer", self.optimizer.load_state_dict)
            prune_checkpoints(self.run.checkpoints, {self.progress.step, self.progress.best_step})
        self.run.log.cut(log_bytes)
        self.run.write_config(self.experiment)  # steps may be more than before

    def __iter__(self):
        self._began = time.perf_counter() - self.progress.seconds
        progress, config = self.progress, self.config
        yield events.Started(progress.step, config.steps)
        if progress.step == 0:
            yield from self.begin()
        while progress.step < config.steps and not self.stop_requested:
            yield self.train_step()
            last = progress.step == config.steps
            evaluation = None
            if last or progress.step % config.eval_every == 0:
                yield (evaluation := self.evaluate())
            if last or progress.step % config.sample_every == 0:
                yield self.sample()
            if last or evaluation or progress.step % config.log_every == 0:
                yield self.log(evaluation)
            if last or progress.step % config.checkpoint_every == 0 or (evaluation and evaluation.best):
                yield self.save()
        if progress.step < config.steps:
            if progress.step:  # before the first step there is nothing that a new start would not do again
                yield self.save()
            yield events.Stopped(progress.step)
        else:
            yield events.Finished(progress.step, read_log(self.run.log.path)[-1])

    def begin(self):
        """Log what is read, and what the untrained model makes of it."""
        self.run.log.append({"kind": "data"} | self.experiment.facts())
        yield (evaluation := self.evaluate())
        yield self.sample()
        yield self.log(evaluation)

    def train_step(self):
        """Do one update: forward, backward, clip, step."""
        began = time.perf_counter()
        step, config = self.progress.step, self.config
        tokens, context = self.experiment.train_tokens, self.model.config.context
        x, y = get_batch(tokens, self.seed, step, config.batch, context)
        self.model.train().dropout_stream(self.seed, step)
        loss = self.forward_backward(x, y)
        grad_norm = gradient_norm(self.optimizer.parameters)
        self._check_finite(step + 1, "loss", loss)
        self._check_finite(step + 1, "gradient norm", grad_norm)  # now, before it spoils every weight
        self.optimizer.lr = learning_rate(step, config)
        clipped_step(self.optimizer, grad_norm, config.clip)
        self.optimizer.zero_grad()

        seconds = time.perf_counter() - began
        self.progress.add(loss, grad_norm, seconds)
        return events.Stepped(step + 1, loss, self.optimizer.lr, grad_norm, x.size, seconds)

    def forward_backward(self, x, y):
        """Add the gradients of a batch to the parameters and return its loss; x, y (B, T).

        With `accumulate` n the batch goes through in n parts. Each part's mean counts 1/n, so the sum is
        the mean of the whole batch and the gradient is the same, while only a part's activations are in
        memory.
        """
        parts = self.config.accumulate
        rows = len(x) // parts
        total = 0.0
        for first in range(0, len(x), rows):
            loss = self.model.loss(x[first : first + rows], y[first : first + rows]) * (1.0 / parts)
            loss.backward()
            total += loss.item()
        return total

    def evaluate(self):
        """Measure the validation loss, and see whether it is the best so far."""
        progress, config = self.progress, self.config
        rows = config.batch // config.accumulate
        val_tokens = self.experiment.val_tokens
        loss, per_char = evaluate(self.model, val_tokens, config.eval_windows, rows, self._characters)
        self._check_finite(progress.step, "validation loss", loss)
        best = progress.step > 0 and (progress.best_step is None or loss < progress.best_val_loss)
        if best:
            progress.best_step, progress.best_val_loss = progress.step, loss
        return events.Evaluated(progress.step, loss, per_char, best)

    def sample(self):
        """Let the model write, always with the same random numbers, so that samples differ by what it has
        learnt."""
        config = self.config
        prompt = self.prompt()
        tokens = generate(
            self.model,
            [prompt],
            max_tokens=config.sample_tokens,
            sampling=Sampling(temperature=config.sample_temperature),
            seed=self.seed,
        )[0]
        text = self.tokenizer.decode([*prompt, *tokens])
        self.run.log.append({"kind": "sample", "step": self.progress.step, "text": text})
        return events.Sampled(self.progress.step, text)

    def prompt(self):
        """Return the tokens that a sample begins with: `sample_prompt`, or the text's first token if that
        is not in the vocabulary."""
        try:
            tokens = self.tokenizer.encode(self.config.sample_prompt)
        except UserError:
            tokens = []
        return tokens or [int(self.experiment.train_tokens[0])]

    def log(self, evaluation=None):
        """Add a line to log.jsonl: means since the last line, and the evaluation if this step had one."""
        progress = self.progress
        steps = progress.group_steps
        tokens = steps * self.config.batch * self.model.config.context
        progress.seconds = time.perf_counter() - self._began
        record = {
            "kind": "step",
            "step": progress.step,
            "train_loss": progress.group_loss / steps if steps else None,
            "val_loss": evaluation.val_loss if evaluation else None,
            "val_loss_per_char": evaluation.val_loss_per_char if evaluation else None,
            "lr": self.optimizer.lr if steps else None,
            "grad_norm": progress.group_grad_norm / steps if steps else None,
            "tokens_per_second": round(tokens / progress.group_seconds, 1) if steps else None,
            "seconds": round(progress.seconds, 3),
            "peak_rss_mb": peak_rss_mb(),
        }
        progress.new_group()
        self.run.log.append(record)
        return events.Logged(record)

    def save(self):
        """Write a checkpoint, then delete those that are neither the last nor the best."""
        progress = self.progress
        progress.seconds = time.perf_counter() - self._began
        arrays = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        for name, array in arrays["model"].items():
            self._check_finite(progress.step, f"sum of {name}", float(array.sum()))
        state = {"progress": asdict(progress), "log_bytes": self.run.log.sync()}
        path = save_checkpoint(self.run.checkpoints, progress.step, arrays, state)
        prune_checkpoints(self.run.checkpoints, keep={progress.step, progress.best_step})
        return events.Saved(progress.step, path)

    def _check_finite(self, step, what, value):
        """Stop the run when a number that must be finite is not. Nothing spoilt has been saved by then."""
        if not math.isfinite(value):
            last = self.run.last_checkpoint()
            kept = f"the last good checkpoint is {last}" if last else "no checkpoint had been saved yet"
            what = f"the {what} is {value} at step {step}: training has blown up; {kept}"
            raise Diverged(what, "try a smaller --lr")
