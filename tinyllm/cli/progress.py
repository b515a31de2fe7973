"""Show the progress of `tinyllm train`: a bar in a terminal, plain lines in a file, JSON for a program."""

import json
import math
import shutil
import sys
import time
from typing import Any

from tqdm import tqdm

from tinyllm.cli.text import can_print, has_colours, indented, printable, quoted
from tinyllm.report.summary import summarise
from tinyllm.report.terminal import loss_chart
from tinyllm.train import events
from tinyllm.train.evaluate import perplexity
from tinyllm.train.log import read_log
from tinyllm.train.recipe import doctor
from tinyllm.train.run import Run
from tinyllm.train.setup import TrainSetup


class Display:
    """Show a training run: model, data, a line or a bar, samples, the loss curve, what to do next."""

    def __init__(self, run: Run, setup: TrainSetup) -> None:
        self.run, self.setup, self.config = run, setup, setup.config.train
        self.bar: Any = None  # tqdm, once training has begun in a terminal
        self.evaluation: events.Evaluated | None = None
        self.last_sample, self.speed = "", 0.0

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, *exc: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def say(self, text: str) -> None:
        """Print a text above the bar."""
        if self.bar is None or self.bar.disable:
            print(text, flush=True)
        else:
            with tqdm.external_write_mode(file=sys.stdout):
                print(text, flush=True)

    def introduce(self) -> None:
        """Describe the model, the data and the plan."""
        config, facts, context = self.setup.config, self.setup.facts, self.setup.model.config.context
        self.say(summarise(self.setup.model, self.config.batch, context) + "\n")
        asked = config.tokenizer.removeprefix("bpe:")
        if asked.isdigit() and facts.vocab_size < int(asked):
            self.say(f"tokens {facts.vocab_size:,}, not {int(asked):,}: there are no more pairs to merge\n")
        self.say(printable(
            f"data   {facts.data}\n"
            f"       {facts.bytes:,} bytes, SHA-256 {facts.sha256[:16]}...\n"
            f"       {facts.train_tokens:,} tokens to train on, {facts.val_tokens:,} to validate, "
            f"{facts.vocab_size:,} different ones\n"
            f"plan   {self.config.steps:,} steps of {self.config.batch} x {context} tokens, "
            f"learning rate {self.config.lr:g} ({self.config.schedule}), seed {config.seed}\n"
            f"run    {self.run.folder}\n"
        ))  # fmt: skip

    def show(self, event: Any) -> None:
        """Show an event of training; some kinds show nothing."""
        if isinstance(event, events.Started):
            self.start(event)
        elif isinstance(event, events.Stepped) and self.bar is not None:
            speed = event.tokens / event.seconds
            self.speed = 0.95 * self.speed + 0.05 * speed if self.speed else speed
            val = f" val {self.evaluation.val_loss:.3f}" if self.evaluation else ""
            self.bar.set_description_str(f"loss {event.loss:.3f}{val} {self.speed:,.0f} tok/s", refresh=False)
            self.bar.update()
        elif isinstance(event, events.Evaluated):
            self.evaluation = event
        elif isinstance(event, events.Logged) and event.record["val_loss"] is not None:
            self.evaluated(event.record)
        elif isinstance(event, events.Sampled):
            self.last_sample = event.text
            if event.step < self.config.steps:
                when = f"after {event.step:,} steps" if event.step else "before training"
                self.say(f"{when} it writes:\n{indented(printable(event.text), lines=4)}\n")

    def start(self, event: events.Started) -> None:
        """Start the clock and, in a terminal, the bar."""
        self.first_step, self.began = event.step, time.perf_counter()
        if event.step:
            self.say(f"going on after step {event.step:,}")
        if sys.stderr.isatty():
            columns, rows = shutil.get_terminal_size()
            self.bar = tqdm(
                total=self.config.steps,
                initial=event.step,
                ncols=min(80, columns),
                nrows=rows,  # tqdm alone would show nothing in a terminal that does not know its size
                bar_format="{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} {desc} {remaining} left",
                mininterval=0.2,
            )

    def evaluated(self, record: dict) -> None:
        """Show an evaluation as one line, unless a bar shows it, and the doctor's remark on it."""
        parts = [f"step {record['step']:>{len(str(self.config.steps))}}/{self.config.steps}"]
        if record["train_loss"] is not None:
            parts.append(f"loss {record['train_loss']:.3f}")
        parts.append(f"val {record['val_loss']:.3f}")
        if record["tokens_per_second"] is not None:
            seconds_per_step = (time.perf_counter() - self.began) / max(1, record["step"] - self.first_step)
            left = tqdm.format_interval(seconds_per_step * (self.config.steps - record["step"]))
            parts += [f"{record['tokens_per_second']:,.0f} tokens/s", f"{left} left"]
        if self.bar is None:
            self.say("  ".join(parts))
        if line := doctor(self.setup.plan, record):
            self.say(f"doctor  {line}")

    def say_how_to_resume(self) -> None:
        """Print what a stopped run has saved, and the command that resumes it."""
        step = self.run.last_checkpoint()
        kept = f"saved as {step}" if step else "nothing was trained yet"
        self.say(f"\nstopped; {kept}\ngo on with:  tinyllm train --out {quoted(self.run.folder)} --resume")

    def conclude(self) -> None:
        """Print a summary of a finished run."""
        records = read_log(self.run.log.path)
        last, floor = records[-1], self.setup.facts.entropy_per_char
        width = min(78, shutil.get_terminal_size().columns - 2)
        plain = not can_print("⠤●┄│")
        self.say("\n" + loss_chart(records, floor, max(width, 40), ascii_only=plain, colour=has_colours()))
        self.say("\n" + verdict(last, floor))
        sample = self.last_sample or next((r["text"] for r in reversed(records) if r["kind"] == "sample"), "")
        self.say(f"\nit writes:\n{indented(printable(sample))}")
        folder, prompt = quoted(self.run.folder), quoted(first_words(self.setup.text))
        self.say(
            f"\nwhat next:\n"
            f"  tinyllm generate {folder} --prompt {prompt}\n"
            f"  tinyllm chat {folder}\n"
            f"  tinyllm train --out {folder} --resume --steps {2 * self.config.steps}\n"
            f"  open {quoted(self.run.report)} in a browser"
        )


class JsonDisplay(Display):
    """Print the lines of log.jsonl as they are written, and nothing else."""

    def say(self, text: str) -> None:
        pass

    def show(self, event: Any) -> None:
        if isinstance(event, events.Logged):
            print(json.dumps(event.record), flush=True)


def verdict(last: dict, floor: float | None) -> str:
    """Return lines that describe how good the model is."""
    nats, per_char = last["val_loss"], last["val_loss_per_char"]
    lines = [f"validation loss {nats:.3f} nats per token: perplexity {perplexity(nats)}"]
    if per_char is not None:
        lines.append(f"per character {per_char:.3f} nats, {per_char / math.log(2):.3f} bits")
        if floor is not None:
            lines.append(f"the language's own entropy is {floor:.3f}: no model can stay below it;")
            lines.append(f"this one is {per_char - floor:.3f} nats per character above")
    minutes = tqdm.format_interval(last["seconds"])
    lines.append(f"trained in {minutes}, peak memory {last['peak_rss_mb'] or '?'} MiB")
    return "\n".join(lines)


def first_words(data: bytes) -> str:
    """Return a prompt: the first words of the data, or "Once" if the data is not text."""
    words = data[:200].decode("utf-8", "ignore").split()[:3]
    return " ".join(words) if words and all(word.isprintable() for word in words) else "Once"
