"""Show a training as it happens: a bar in a terminal, plain lines in a file, JSON for a program."""

import json
import math
import shutil
import sys
import time
from shlex import quote
from typing import Any

from tqdm import tqdm

from tinyllm.errors import UserError
from tinyllm.report.curves import characters_per_token, loss_curves
from tinyllm.report.loss_chart import loss_chart
from tinyllm.report.remarks import remark
from tinyllm.report.terminal import can_print, columns, entry, has_colours, indented, paragraph, printable
from tinyllm.runs.log import read_log
from tinyllm.runs.plan import doctor
from tinyllm.runs.run import Run
from tinyllm.runs.setup import TrainSetup
from tinyllm.train import events
from tinyllm.train.evaluate import perplexity

QUIET = 10  # seconds without a line, if there is no bar
FEWEST = 50  # steps of a curve that is worth a chart
WIDE = 70  # columns of a bar that has room for the speed


class Display:
    """Show a training run on a terminal: its plan, progress, samples and loss curve, and what to do next."""

    def __init__(self, run: Run, setup: TrainSetup) -> None:
        self.run, self.setup, self.steps = run, setup, setup.config.train.steps
        self.bar: Any = None  # tqdm, once training has begun in a terminal
        self.size = 1.0  # characters per token: losses are shown per character where that is known
        self.speed = 0.0  # tokens a second
        self.val_loss: float | None = None
        self.last_sample = ""
        self.last_line = time.perf_counter()

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, *exc: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def say(self, text: str) -> None:
        """Print a text above the bar."""
        with tqdm.external_write_mode(file=sys.stdout):
            print(text, flush=True)

    def introduce(self) -> None:
        """Describe the training, the data and the plan."""
        config, facts, model = self.setup.config, self.setup.facts, self.setup.model
        count = model.num_parameters()
        trained = sum(p.data.size for p in model.parameters(trainable=True))
        part = f"{trained:,} numbers of " if trained < count else ""
        what = f"{part}a {type(model).__name__} of {count:,} parameters"
        steps = f"{self.steps:,} step{'s' * (self.steps > 1)}"
        self.say(paragraph(printable(f"Train {what} for {steps} on {facts.data}."), further=0))
        floor = facts.entropy_per_char
        possible = "" if floor is None else f"; the best possible is {floor:.3f}, the entropy of the grammar"
        rows = {
            "data": f"{facts.bytes:,} bytes, SHA-256 {facts.sha256[:16]}...; {facts.train_tokens:,} tokens "
                    f"to train on, {facts.val_tokens:,} to validate, {facts.vocab_size:,} different tokens",
            "plan": f"steps of {config.train.batch} x {model.config.context} tokens, "
                    f"learning rate {config.train.lr:g} ({config.train.schedule}), seed {config.seed}",
            "loss": f"in nats per character{possible}",
            "run": str(self.run.folder),
            "doctor": doctor(self.setup.plan, self.setup.plan.known),
        }
        lines = [entry(f"{name:<6} ", printable(text)) for name, text in rows.items() if text]
        self.say("\n".join(lines) + "\n")

    def show(self, event: Any) -> None:
        """Show an event of training. Some kinds of events are ignored."""
        match event:
            case events.Started():
                self.start(event)
            case events.Stepped():
                if self.bar is not None:
                    speed = [f"{self.speed:,.0f} tok/s"] if self.bar.ncols >= WIDE else []
                    beside = " ".join(self.losses(event.loss, self.val_loss) + speed)
                    self.bar.set_description_str(beside, refresh=False)
                    self.bar.update()
            case events.Evaluated():
                self.val_loss = event.val_loss
                if event.val_loss_per_char:
                    self.size = event.val_loss / event.val_loss_per_char
            case events.Logged():
                self.logged(event.record)
            case events.Sampled():
                self.last_sample = event.text
                if event.step < self.steps:
                    when = f"after {event.step:,} steps" if event.step else "before training"
                    self.say(f"{when} it writes:\n{indented(printable(event.text), lines=4)}\n")

    def start(self, event: events.Started) -> None:
        """Start the progress bar if the output is a terminal."""
        if event.step:
            self.say(f"going on after step {event.step:,}")
            self.size = characters_per_token(read_log(self.run.log.path)) or 1.0
        if sys.stderr.isatty():
            self.bar = tqdm(
                total=self.steps,
                initial=event.step,
                ncols=columns(sys.stderr),
                nrows=shutil.get_terminal_size().lines,  # without it, nothing is shown if the size is unknown
                bar_format="{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} {desc} {remaining} left",
                mininterval=0.2,
            )

    def losses(self, train: float | None, val: float | None) -> list[str]:
        """Write losses with their names, per character if that is known."""
        named = {"loss": train, "val": val}
        return [f"{name} {loss / self.size:.3f}" for name, loss in named.items() if loss is not None]

    def logged(self, record: dict) -> None:
        """Print a record of the log if no bar is shown, and what the doctor says about an evaluation."""
        step, evaluated, now = record["step"], record["val_loss"] is not None, time.perf_counter()
        self.speed = record["tokens_per_second"] or self.speed
        if self.bar is None and (evaluated or now - self.last_line > QUIET):
            parts = [f"step {step:>{len(str(self.steps))}}/{self.steps}"]
            parts += self.losses(record["train_loss"], record["val_loss"])
            if self.speed and step < self.steps:
                left = record["seconds"] / step * (self.steps - step)
                parts += [f"{self.speed:,.0f} tokens/s", f"{duration(left)} left"]
            self.say("  ".join(parts))
            self.last_line = now
        if evaluated and (said := doctor(self.setup.plan, record)):
            self.say(f"doctor  {said}")

    def say_how_to_resume(self) -> None:
        """Print what a stopped run has saved, and the command that resumes it."""
        step = self.run.last_checkpoint()
        kept = f"saved as {step}" if step else "nothing was trained yet"
        folder = quote(str(self.run.folder))
        self.say(f"\nstopped; {kept}\ngo on with:  tinyllm train --out {folder} --resume")

    def conclude(self) -> None:
        """Print a summary of a finished run."""
        records = read_log(self.run.log.path)
        evaluated = [record for record in records if record.get("val_loss") is not None]
        if not evaluated:
            raise UserError(f"{self.run.log.path} has no evaluation: lines are missing; put the log back")
        floor = self.setup.facts.entropy_per_char
        if self.steps >= FEWEST and can_print("⠤●┄│"):
            self.say("\n" + loss_chart(records, floor, max(columns() - 2, 40), colour=has_colours()))
        self.say("\n" + verdict(evaluated[-1], floor))
        if said := remark(loss_curves(records, floor)):
            self.say(paragraph(said, further=0))
        sample = self.last_sample or next((r["text"] for r in reversed(records) if r["kind"] == "sample"), "")
        self.say(f"\nit writes:\n{indented(printable(sample))}")
        self.say("\n  ".join(["\nwhat next:", *self.what_next()]))

    def what_next(self) -> list[str]:
        """Return commands that use the trained model."""
        folder, model = quote(str(self.run.folder)), self.setup.model
        words = self.setup.corpus.data[:200].decode("utf-8", "ignore").split()[:3]
        prompt = " ".join(words) if words and all(map(str.isprintable, words)) else "Once"
        masked = model.objective == "masked"
        if masked and model.lm_head:
            prompt += f" {model.special_tokens['mask']}"
        pictures = self.setup.plan.prompt[:1] == model.picture_marks[:1] != []  # it learnt with pictures
        asked = f"{folder} --picture {quote(self.setup.config.data)}" if pictures else folder
        return [f"tinyllm generate {asked} --prompt {quote(prompt)}",
                *([] if masked else [f"tinyllm chat {asked}"]),
                f"tinyllm train --out {folder} --resume --steps {2 * self.steps}",
                f"open {quote(str(self.run.report))} in a browser"]


class JsonDisplay(Display):
    """Print the lines of log.jsonl as they are written, and nothing else."""

    def say(self, text: str) -> None:
        pass

    def show(self, event: Any) -> None:
        if isinstance(event, events.Logged):
            print(json.dumps(event.record), flush=True)


def verdict(last: dict, floor: float | None) -> str:
    """Describe in lines how good the model is. last: the last log record; floor: the best possible loss."""
    nats, per_char = last["val_loss"], last["val_loss_per_char"]
    lines = []
    if per_char is not None:
        bits = per_char / math.log(2)
        lines.append(f"validation loss {per_char:.3f} nats per character, or {bits:.3f} bits")
        if floor is not None:
            above = f"{per_char - floor:.3f} above the best possible loss on this text, {floor:.3f}"
            lines.append(f"this is {above}")
    lines.append(f"validation loss {nats:.3f} nats per token: perplexity {perplexity(nats)}")
    lines.append(f"trained in {duration(last['seconds'])}, peak memory {last['peak_rss_mb'] or '?'} MiB")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Write a time in words: 50 s, 4 minutes, 2.5 hours."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{max(seconds, 1):.0f} s"
