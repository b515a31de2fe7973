"""Implement `tinyllm train`, which trains a model on a text and shows the progress: a bar, or plain lines."""

import argparse
import math
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from shlex import quote
from typing import Any

from tqdm import tqdm

from tinyllm.cli.command import command
from tinyllm.config import flatten, parse_assignments
from tinyllm.errors import UserError
from tinyllm.files import read_toml
from tinyllm.models import names
from tinyllm.report.run import characters_per_token, write_report
from tinyllm.report.terminal import entry, indented, paragraph, printable, progress_bar
from tinyllm.runs.config import RunConfig, make_config, resumed, settings_help
from tinyllm.runs.log import read_log
from tinyllm.runs.plan import doctor
from tinyllm.runs.recipe import find_recipe, recipes
from tinyllm.runs.run import Run
from tinyllm.runs.setup import TrainSetup, prepare, reopen
from tinyllm.train import events
from tinyllm.train.evaluate import perplexity

BAR = "{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} {desc} {remaining} left"
FLAGS = {  # settings that have a flag -> flag, metavar
    "data": ("--data", "FILE|NAME"),
    "tokenizer": ("--tokenizer", "SPEC"),
    "model.type": ("--model", "NAME"),
    "preset": ("--preset", "NAME"),
    "train.steps": ("--steps", "N"),
    "train.batch": ("--batch", "B"),
    "train.lr": ("--lr", "X"),
    "seed": ("--seed", "S"),
}
NOTES = """

Settings come from the preset, then --config, then the flags, then --set; the
later wins. --resume needs only --out. More --steps stretch the schedule: steps
that are done keep the learning rate that they had, the rest follow the schedule
for the new total."""


def list_settings(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each setting in FLAGS, and --settings; list the recipes at the end of the help."""
    settings: dict = {}
    for recipe in recipes():
        for kind in names():
            settings = settings_help(recipe, kind) | settings
    for setting, (flag, metavar) in FLAGS.items():
        _, default, text = settings[setting]
        text += f" ({default})" if default else ""
        parser.add_argument(flag, metavar=metavar, dest=setting, help=text)
    lines = [f"  {name:<14} {recipe.help}" for name, recipe in recipes().items()]
    rows = [entry(f"  {name:<25}{default:<11}", text)
            for name, (_, default, text) in sorted(settings.items())]
    parser.epilog = (parser.epilog or "") + "\n".join([NOTES, "\nrecipes:", *lines, ""])
    text = "list all settings of --set and --config, and exit"
    parser.add_argument("--settings", action="version", version="\n".join(rows), help=text)


@command("train", extend=list_settings)
def train(recipe: str | None = None, *, set_: list[str] | None = None, config: str | None = None,
          mine: list[str] | None = None, out: str | None = None, resume: bool = False,
          overwrite: bool = False, minutes: float | None = None, **flags: str | None) -> int:
    """Train a model on a text, or continue an earlier training run.

    RECIPE           the kind of training, from `recipes` at the end (default: to pretrain)
    --set KEY=VALUE  any setting, such as model.heads=4 or train.checkpoint_every=50
    --config FILE    settings in TOML, with tables [model] and [train]
    --mine N,N       use your functions from these lessons; slower, so 200 steps
    --out DIR        the folder of the run (default runs/DATA-PRESET)
    --resume         continue the run in DIR
    --overwrite      replace the run in DIR
    --minutes M      as many steps as this machine does in M minutes

    examples:
      tinyllm train                             little stories, in some minutes
      tinyllm train --data book.txt --tokenizer bpe:1024 --steps 500 --out runs/book
      tinyllm train --model llama --preset mini --set train.eval_every=50
      tinyllm train --out runs/book --resume --steps 1000         train longer
      tinyllm train sft --data pairs.tsv --set start=runs/book    learn to answer
      tinyllm train --mine 4,6                  on your own softmax and attention
    """
    from tinyllm.course.training import plugged_in  # the only import from the course

    if recipe and recipe not in recipes() and Path(recipe).exists():
        raise UserError(f"{recipe} is no recipe; `tinyllm train --data {recipe}` trains on it")
    if recipe:
        find_recipe(recipe)  # raises for a wrong name, as for the 6 in `--mine 4 6`
    if resume and (overwrite or not out):
        raise UserError("--resume needs --out DIR, and is not allowed with --overwrite")
    given = {name: value for name, value in (flags | {"recipe": recipe}).items() if value is not None}
    chosen = (flatten(read_toml(config)) if config else {}) | given | parse_assignments(set_ or [])
    if minutes is not None and (resume or "train.steps" in chosen or not 0 < minutes < math.inf):
        raise UserError(f"--minutes {minutes:g}: give a positive number, and neither --steps nor --resume")
    with plugged_in(mine, out if resume else None) as plugins:
        if plugins.introduction:
            print("\n".join(map(paragraph, plugins.introduction)) + "\n", flush=True)
        if resume and out:
            run = Run(out)
            setup = reopen(run, resumed(run.read().config, chosen))
        else:
            run, settings = new_run(out, plugins.settings | chosen, overwrite, plugins.ending)
            with progress_bar("tokenizer") as move:
                setup = prepare(settings, progress=move)
            if minutes is not None:
                with plugins.explaining():
                    steps = setup.steps_in(60 * minutes)
                settings = make_config(plugins.settings | chosen | {"train.steps": steps})
                setup = prepare(settings, setup.corpus, setup.tokenizer)  # as --steps does
            plugins.try_out(setup)
        return train_run(run, setup, resume, plugins)


def new_run(out: str | None, settings: dict[str, Any], overwrite: bool, ending: str) -> tuple[Run, RunConfig]:
    """Return a new run and its settings. Raises UserError when its folder is taken."""
    own = [name for name in settings if name in ("preset", "tokenizer") or name.startswith("model.")]
    if settings.get("start") and own:
        raise UserError(f"start={settings['start']} brings its own model and tokenizer: leave out {own[0]}")
    config = make_config(settings)
    run = Run(free_folder(config, overwrite, ending) if out is None else out)
    run.check_writable()  # before a tokenizer is trained, which may take minutes
    if run.holds_something() and not overwrite:
        raise UserError(f"{run.folder} holds a run already: go on with it (--resume), replace it "
                        "(--overwrite), or choose another --out")
    if config.start and Path(os.path.realpath(config.start)).is_relative_to(os.path.realpath(run.folder)):
        raise UserError(f"{run.folder} holds the start of this run, which must stay: choose another --out")
    return run, config


def free_folder(config: RunConfig, overwrite: bool, ending: str = "") -> Path:
    """Return runs/DATA-PRESET, perhaps with an ending, and a number if that is taken."""
    name = re.sub(r"\W+", "-", Path(config.data).name.split(".")[0]).strip("-") or "stdin"
    first = Path("runs", "-".join(filter(None, [name, config.preset, ending])))
    folders = chain([first], (first.with_name(f"{first.name}-{number}") for number in count(2)))
    return next(folder for folder in folders if overwrite or not Run(folder).holds_something())


def train_run(run: Run, setup: TrainSetup, resume: bool, plugins: Any) -> int:
    """Train, show the events of the training, and return the exit code."""
    if not resume:
        run.create(setup.record(plugins.notes), setup.tokenizer)
    stopping = threading.Event()
    loop, display = setup.train(run, resume, stop=stopping.is_set), Display(run, setup)
    display.introduce()
    with plugins.explaining(run), stop_on_signals(stopping), display.bar:
        for event in loop:
            display.show(event)
    if isinstance(event, events.Stopped):
        return 130
    write_report(run)
    display.conclude()
    if lines := list(plugins.conclusion(run)):
        print("\n" + "\n".join(map(paragraph, lines)))
    return 0


@contextmanager
def stop_on_signals(stopping: threading.Event) -> Iterator[None]:
    """Let Ctrl-C or SIGTERM set the event `stopping`; a second signal stops the program at once."""

    def ask(number: int, frame: object) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()
        with suppress(OSError):  # not print: the signal may interrupt another print
            os.write(2, b"\nstopping; Ctrl-C again stops at once\n")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)
              if signal.getsignal(number) != signal.SIG_IGN}  # as SIGINT is in a shell's background jobs
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Display:
    """Show a training run on a terminal: its plan, progress, samples and losses, and what to do next."""

    def __init__(self, run: Run, setup: TrainSetup) -> None:
        self.run, self.setup, self.steps = run, setup, setup.config.train.steps
        self.size = 1.0  # characters per token if known, so that losses are shown per character
        self.val_loss: float | None = None
        self.unit = find_recipe(setup.config.recipe).unit
        # Without nrows, nothing is shown if the size of the terminal is unknown.
        self.bar = tqdm(total=self.steps, bar_format=BAR, mininterval=0.2, disable=not sys.stderr.isatty(),
                        nrows=shutil.get_terminal_size().lines)

    def say(self, text: str) -> None:
        """Print a text above the bar."""
        with tqdm.external_write_mode(file=sys.stdout):
            print(text, flush=True)

    def introduce(self) -> None:
        """Describe the training, the data and the plan."""
        config, facts, model = self.setup.config, self.setup.facts, self.setup.model
        floor = facts.entropy_per_char
        what = f"a {type(model).__name__} of {model.num_parameters():,} parameters"
        self.say(paragraph(printable(f"Train {what} for {self.steps:,} steps on {facts.data}."), further=0))
        rows = {
            "data": f"{facts.bytes:,} bytes, SHA-256 {facts.sha256[:16]}...; {facts.train_tokens:,} tokens "
                    f"to train on, {facts.val_tokens:,} to validate, {facts.vocab_size:,} different tokens",
            "plan": f"steps of {config.train.batch} x {model.config.context} tokens, "
                    f"learning rate {config.train.lr:g} ({config.train.schedule}), seed {config.seed}",
            "loss": "in " + self.unit.replace("token", "character")
                    + ("" if floor is None else f"; at best {floor:.3f}"),
            "run": str(self.run.folder),
            "doctor": doctor(self.setup.plan, self.setup.plan.known),
        }
        lines = [entry(f"{name:<6} ", printable(text)) for name, text in rows.items() if text]
        self.say("\n".join(lines) + "\n")

    def show(self, event: Any) -> None:
        """Show an event of training. Some kinds of events are ignored."""
        match event:
            case events.Logged():
                self.logged(event.record)
            case events.Started() if event.step:
                self.say(f"going on after step {event.step:,}")
                self.size = characters_per_token(read_log(self.run.log.path)) or 1.0
                self.bar.initial = self.bar.n = event.step
            case events.Stepped():
                self.bar.update()
            case events.Stopped():
                saved = self.run.last_checkpoint() or "nothing, because no step was done"
                folder = quote(str(self.run.folder))
                self.say(f"\nstopped; saved: {saved}\ngo on with:  tinyllm train --out {folder} --resume")
            case events.Sampled() if event.step < self.steps:
                when = f"after {event.step:,} steps" if event.step else "before training"
                self.say(f"{when} it writes:\n{indented(printable(event.text), lines=4)}\n")

    def logged(self, record: dict) -> None:
        """Show a record's losses: in the bar, or without a bar as a line for each evaluation."""
        if (val := record["val_loss"]) is not None:
            self.val_loss, self.size = val, characters_per_token([record]) or 1.0
        named = {"loss": record["train_loss"], "val": self.val_loss}
        parts = [f"{name} {loss / self.size:.3f}" for name, loss in named.items() if loss is not None]
        if record["tokens_per_second"]:
            parts.append(f"{record['tokens_per_second']:,.0f} tok/s")
        self.bar.set_description_str(" ".join(parts))
        if self.bar.disable and val is not None:
            self.say("  ".join([f"step {record['step']:>{len(str(self.steps))}}/{self.steps}", *parts]))
        if val is not None and record["step"] and (said := doctor(self.setup.plan, record)):
            self.say(f"doctor  {said}")

    def conclude(self) -> None:
        """Print a summary of a finished run, from its log."""
        records = read_log(self.run.log.path)
        evaluated = [record for record in records if record.get("val_loss") is not None]
        if not evaluated:
            raise UserError(f"{self.run.log.path} has no evaluation: lines are missing; put the log back")
        last, floor = evaluated[-1], self.setup.facts.entropy_per_char
        nats, loss = last["val_loss"], last["val_loss_per_char"]
        more = f": perplexity {perplexity(nats)}" if self.unit == "nats per token" else ""
        lines = [f"validation loss {nats:.3f} {self.unit}{more}",
                 f"trained in {last['seconds']:,.0f} s, peak memory {last['peak_rss_mb'] or '?'} MiB"]
        if loss is not None:
            best = "" if floor is None else f"; the best possible on this text is {floor:.3f}"
            lines.insert(0, f"validation loss {loss:.3f} nats per character{best}")
        sample = next((record["text"] for record in reversed(records) if record["kind"] == "sample"), "")
        folder = quote(str(self.run.folder))
        chat = [] if self.setup.model.silent else [f"tinyllm chat {folder}"]
        judged = f"RUN --best-of 16 --by {folder}" if self.setup.model.objective == "scores" else folder
        commands = [f"tinyllm generate {judged} --prompt TEXT", *chat,
                    f"tinyllm train --out {folder} --resume --steps {2 * self.steps}",
                    "tinyllm lesson"]
        self.say("\n".join(["", *lines, "", "it writes:", indented(printable(sample)), ""]))
        self.say("\n  ".join(["what next:", *commands]) + f"\nor look at {self.run.report} in a browser")
