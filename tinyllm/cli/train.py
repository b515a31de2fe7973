"""Implement `tinyllm train`, which trains a model on a text and shows the progress."""

import argparse
import math
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import chain, count
from pathlib import Path
from typing import Any

from tinyllm.cli.command import command
from tinyllm.cli.progress import Display
from tinyllm.config import flatten, parse_assignments
from tinyllm.errors import UserError
from tinyllm.files import read_toml
from tinyllm.models import names
from tinyllm.ops import runtime
from tinyllm.parallel.grid import arrange
from tinyllm.parallel.mpi import connect, require_equal
from tinyllm.report.run import write_report
from tinyllm.report.terminal import entry, paragraph, progress_bar
from tinyllm.runs import Run, RunConfig, TrainSetup, find_recipe, make_config, prepare, reopen
from tinyllm.runs.config import resumed, settings_help
from tinyllm.runs.recipe import recipes
from tinyllm.train import Group, Loop, events
from tinyllm.train.loop import require_pieces
from tinyllm.version import __version__

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
    group = connect()
    if group.size > 1 and not resume:  # each process computes at least a piece of a batch
        chosen = {"train.accumulate": group.size} | chosen
    if group.size > 1 and minutes is not None:
        raise UserError("--minutes times one process, and there are several: give --steps")
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
        share(setup, group, run)
        return train_run(run, setup, resume, plugins)


def share(setup: TrainSetup, group: Group, run: Run) -> None:
    """Let the processes of a group train together. Raises UserError unless all have prepared the same."""
    if group.size > 1:
        if setup.plan.loop is not Loop:
            raise UserError(f"{setup.config.recipe} trains its clients in one process: start it without "
                            "mpiexec")
        code = {"version": __version__, "kernels": runtime.BUILD, "backend": runtime.default_backend}
        settings = setup.config.flat() | {"out": str(run.folder)}
        require_equal(group, settings=settings, data=asdict(setup.facts), weights=setup.model.state_dict(),
                      code=code)
    arrange(setup, group)
    require_pieces(setup.config.train.accumulate, setup.group.copies)  # before an older run is replaced


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
    group = setup.group
    if not resume and group.rank == 0:
        run.create(setup.record(plugins.notes), setup.tokenizer)
    group.gather(None)  # the others read what process 0 has written
    stopping = threading.Event()
    loop, display = setup.train(run, resume, stop=stopping.is_set), Display(run, setup)
    display.introduce()
    with plugins.explaining(run), stop_on_signals(stopping), display.bar:
        for event in loop:
            display.show(event)
    if isinstance(event, events.Stopped):
        return 130
    if group.rank > 0:
        return 0
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
