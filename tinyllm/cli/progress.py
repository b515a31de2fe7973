"""What `tinyllm train` shows: a bar in a terminal, plain lines in a file, JSON for a program."""

import json
import math
import os
import shlex
import shutil
import sys
import textwrap
import time

from tqdm import tqdm

from tinyllm.nn import summarise
from tinyllm.report.chart import loss_chart
from tinyllm.train import events
from tinyllm.train.evaluate import perplexity
from tinyllm.train.log import read_log


def choose_display(as_json, run, experiment):
    """Return the display that fits where the output goes."""
    if as_json:
        return JsonDisplay()
    return (BarDisplay if sys.stderr.isatty() else LineDisplay)(run, experiment)


class Display:
    """What is shown before, during and after a training: here, nothing."""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass

    def introduce(self):
        """Say what will be trained on what."""

    def show(self, event):
        """Show what has just happened, or not."""

    def say_how_to_resume(self):
        """Say what a training that was stopped has left behind."""

    def conclude(self):
        """Sum up a training that is done."""


class JsonDisplay(Display):
    """The lines of log.jsonl as they are written, and nothing else."""

    def show(self, event):
        if isinstance(event, events.Logged):
            print(json.dumps(event.record), flush=True)


class LineDisplay(Display):
    """For people: model, data, a line per evaluation, samples, the loss curve and what to do next."""

    def __init__(self, run, experiment):
        self.run = run
        self.experiment = experiment
        self.config = experiment.config.train
        self.last_sample = ""
        self.evaluation = None
        self.began = None

    def introduce(self):
        rows = self.config.batch
        context = self.experiment.model.config.context
        self.say(summarise(self.experiment.model, rows, context) + "\n")
        facts = self.experiment.facts()
        self.say(
            f"data   {facts['data']}\n"
            f"       {facts['bytes']:,} bytes, SHA-256 {facts['sha256'][:16]}...\n"
            f"       {facts['train_tokens']:,} tokens to train on, {facts['val_tokens']:,} to validate, "
            f"{facts['vocab_size']:,} different ones"
        )
        self.say(
            f"plan   {self.config.steps:,} steps of {rows} x {context} tokens, "
            f"learning rate {self.config.lr:g} ({self.config.schedule}), seed {self.experiment.config.seed}"
        )
        self.say(f"run    {self.run.folder}\n")

    def show(self, event):
        if isinstance(event, events.Started):
            self.first_step, self.began = event.step, time.perf_counter()
            if event.step:
                self.say(f"going on after step {event.step:,}")
        elif isinstance(event, events.Stepped):
            self.step(event)
        elif isinstance(event, events.Evaluated):
            self.evaluation = event
        elif isinstance(event, events.Logged) and event.record["val_loss"] is not None:
            self.evaluated(event.record)
        elif isinstance(event, events.Sampled):
            self.last_sample = event.text
            if event.step < self.config.steps:
                when = f"after {event.step:,} steps" if event.step else "before training"
                self.say(f"{when} it writes:\n{indented(event.text, lines=4)}\n")

    def say(self, text):
        print(printable(text), flush=True)

    def step(self, event):
        pass

    def evaluated(self, record):
        """Show an evaluation as one line."""
        parts = [f"step {record['step']:>{len(str(self.config.steps))}}/{self.config.steps}"]
        if record["train_loss"] is not None:
            parts.append(f"loss {record['train_loss']:.3f}")
        parts.append(f"val {record['val_loss']:.3f}")
        if record["tokens_per_second"] is not None:
            parts.append(f"{record['tokens_per_second']:,.0f} tokens/s")
            parts.append(f"{self.time_left(record['step'])} left")
        self.say("  ".join(parts))

    def time_left(self, step):
        seconds_per_step = (time.perf_counter() - self.began) / max(1, step - self.first_step)
        return tqdm.format_interval(seconds_per_step * (self.config.steps - step))

    def say_how_to_resume(self):
        step = self.run.last_checkpoint()
        kept = f"saved as {step}" if step else "nothing was trained yet"
        self.say(f"\nstopped; {kept}\ngo on with:  tinyllm train --out {quoted(self.run.folder)} --resume")

    def conclude(self):
        records = read_log(self.run.log.path)
        last, floor = records[-1], self.experiment.corpus.entropy_per_char
        width = min(78, shutil.get_terminal_size().columns - 2)
        looks = {
            "ascii_only": not can_print("⠤●┄│"),
            "colour": sys.stdout.isatty() and "NO_COLOR" not in os.environ,
        }
        print("\n" + loss_chart(records, floor, max(width, 40), **looks))
        self.say("\n" + self.verdict(last, floor))
        sample = self.last_sample or next((r["text"] for r in reversed(records) if r["kind"] == "sample"), "")
        self.say(f"\nit writes:\n{indented(sample)}")
        folder, prompt = quoted(self.run.folder), quoted(first_words(self.experiment.corpus.data))
        self.say(
            f"\nwhat next:\n"
            f"  tinyllm generate {folder} --prompt {prompt}\n"
            f"  tinyllm chat {folder}\n"
            f"  tinyllm train --out {folder} --resume --steps {2 * self.config.steps}\n"
            f"  open {quoted(self.run.report)} in a browser"
        )

    def verdict(self, last, floor):
        """Say in words how good the model is."""
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


class BarDisplay(LineDisplay):
    """The same in a terminal: a bar with loss, speed and time left instead of the lines."""

    bar = None

    def __exit__(self, *exc):
        if self.bar is not None:
            self.bar.close()

    def show(self, event):
        super().show(event)
        if isinstance(event, events.Started):
            columns, rows = shutil.get_terminal_size()
            self.bar = tqdm(
                total=self.config.steps,
                initial=event.step,
                ncols=min(80, columns),
                nrows=rows,  # tqdm alone would show nothing in a terminal that does not know its size
                bar_format="{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} {desc} {remaining} left",
                mininterval=0.2,
            )

    def say(self, text):
        if self.bar is None or self.bar.disable:
            super().say(text)
        else:
            with tqdm.external_write_mode(file=sys.stdout):
                super().say(text)

    def step(self, event):
        val = f" val {self.evaluation.val_loss:.3f}" if self.evaluation else ""
        speed = event.tokens / event.seconds
        self.speed = 0.95 * getattr(self, "speed", speed) + 0.05 * speed
        self.bar.set_description_str(f"loss {event.loss:.3f}{val} {self.speed:,.0f} tok/s", refresh=False)
        self.bar.update()

    def evaluated(self, record):
        pass


class MergeBar:
    """A bar for the training of a tokenizer: a callback that shows something only in a terminal."""

    bar = None

    def __call__(self, done, total):
        if self.bar is None:
            self.bar = tqdm(total=total, desc="tokenizer", ncols=80, leave=False, disable=None)
        self.bar.update(done - self.bar.n)
        if done == total:
            self.bar.close()


def can_print(text):
    """Say whether standard output can show these letters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def printable(text):
    """Return a text without anything that a terminal would obey, or letters that the output lacks."""
    text = "".join(letter if letter in "\n\t" or letter.isprintable() else "\ufffd" for letter in text)
    encoding = sys.stdout.encoding or "ascii"
    return text.encode(encoding, "replace").decode(encoding)


def paragraph(text, indent=0, further=None):
    """A text set in by some columns and broken at 80; further lines stand a little deeper."""
    further = indent + 2 if further is None else further
    return textwrap.fill(text, 80, initial_indent=" " * indent, subsequent_indent=" " * further,
                         break_long_words=False, break_on_hyphens=False)  # fmt: skip


def entry(head, text):
    """A text beside its head, broken at 80 columns; further lines stand below the first."""
    return textwrap.fill(text, 80, initial_indent=head, subsequent_indent=" " * len(head),
                         break_long_words=False, break_on_hyphens=False)  # fmt: skip


def indented(text, lines=None):
    """Return a text, or its first lines, set in by two spaces and broken at 78 columns."""
    rows = [part for row in text.strip("\n").split("\n") for part in textwrap.wrap(row, 76) or [""]]
    shown = rows[:lines] if lines else rows
    return "\n".join("  " + row for row in shown) + (" ..." if len(shown) < len(rows) else "")


def first_words(data):
    """Return something to begin a prompt with: the first words of the data, if they are words."""
    words = data[:200].decode("utf-8", "ignore").split()[:3]
    return " ".join(words) if words and all(word.isprintable() for word in words) else "Once"


def quoted(value):
    """Write a value so that a shell reads it as one word."""
    return shlex.quote(str(value))
