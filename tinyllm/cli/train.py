"""`tinyllm train`: from a text to a model, with everything that a student sees on the way."""

import os
import re
import signal
import textwrap
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

from tinyllm.cli import add_command
from tinyllm.cli.progress import MergeBar, choose_display, paragraph, quoted
from tinyllm.errors import UserError

EXAMPLE = """examples:
  tinyllm train                                               little stories, in about two minutes
  tinyllm train --data book.txt --tokenizer bpe:1024 --steps 500 --out runs/book
  tinyllm train --preset mini --set model.dropout=0.1 --set train.eval_every=50
  tinyllm train --out runs/book --resume --steps 1000         go on, for longer
  tinyllm train --mine 4,6                                    on your own softmax and attention

Settings come from the preset, then --config, then the flags, then --set; the later wins.
--resume needs only --out: the run knows its settings. More --steps stretch the schedule: steps that are
done keep the learning rate that they had, the rest follow the schedule for the new total.
"""

FLAGS = {  # flag -> setting
    "data": "data",
    "tokenizer": "tokenizer",
    "preset": "preset",
    "seed": "seed",
    "threads": "threads",
    "steps": "train.steps",
    "batch": "train.batch",
    "lr": "train.lr",
}


def add_parser(subparsers):
    """Add `tinyllm train`."""
    from tinyllm.train.settings import known_settings

    listed = textwrap.fill(", ".join(known_settings()), 78, initial_indent="  ", subsequent_indent="  ")
    example = f"{EXAMPLE}\nsettings of --set and --config:\n{listed}\n"
    parser = add_command(subparsers, "train", "train a model on a text, or go on with a run", example)
    parser.add_argument(
        "--data", metavar="FILE|NAME", help="a text: file, glob, folder, .gz, - or a corpus's name (stories)"
    )
    parser.add_argument(
        "--tokenizer", metavar="SPEC", help="char, byte, bpe:SIZE or a tokenizer's file (char)"
    )
    parser.add_argument("--preset", metavar="NAME", help="nano, mini or small (nano)")
    parser.add_argument("--steps", metavar="N", help="how many updates")
    parser.add_argument("--batch", metavar="B", help="rows per update")
    parser.add_argument("--lr", metavar="X", help="the highest learning rate")
    parser.add_argument("--seed", metavar="S", help="decides everything random (0)")
    parser.add_argument("--threads", metavar="N", help="threads of the kernels; results do not depend on it")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], dest="assignments",
                        help="any setting, such as model.heads=4 or train.checkpoint_every=50")  # fmt: skip
    parser.add_argument("--config", metavar="FILE", help="settings in TOML, with tables [model] and [train]")
    parser.add_argument("--mine", metavar="N,...", action="append", default=[],
                        help="run what you wrote in these lessons; slower, so 200 steps")  # fmt: skip
    parser.add_argument("--out", metavar="DIR", help="the folder of the run (runs/DATA-PRESET)")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="go on with the run in DIR")
    existing.add_argument("--overwrite", action="store_true", help="replace the run in DIR")
    parser.add_argument("--json", action="store_true", help="print the lines of log.jsonl and nothing else")
    parser.set_defaults(run=run_train)


def run_train(args):
    """Train, on the student's functions where --mine asks for it."""
    parts = parts_of(args)
    if not parts:
        return train(args)
    from tinyllm.course.plugins import plug_in

    with plug_in(parts):
        return train(args, parts)


def train(args, parts=()):
    """Prepare everything, then iterate over a Trainer and show its events."""
    from tinyllm.ops.registry import threads
    from tinyllm.report.run import write_report
    from tinyllm.train.run import prepare, reopen
    from tinyllm.train.trainer import Trainer

    run, config = (resumed_run if args.resume else new_run)(args)
    if config.threads:
        threads(config.threads)
    experiment = reopen(run, config) if args.resume else prepare(config, progress=MergeBar())
    experiment.mine = tuple(part.record() for part in parts)
    trainer = Trainer(run, experiment)
    if args.resume:
        trainer.resume()
    else:
        if parts:
            from tinyllm.course.plugins import try_parts

            with naming(parts):
                try_parts(parts, run, experiment)
        run.create(experiment)
    trained = trainer.progress.step < config.train.steps
    display = choose_display(args.json, run, experiment)
    display.introduce()
    with naming(parts, run), stop_on_signals(trainer, AGAIN if parts else ""), display:
        for event in trainer:
            display.show(event)
    if trainer.progress.step < config.train.steps:
        display.say_how_to_resume()
        return 130
    write_report(run)
    display.conclude()
    if parts and not args.json:
        print("\n" + "\n".join(told(parts, run, trained)))
    return 0


MINE_DEFAULTS = {"train.steps": 200, "train.eval_every": 50, "train.sample_every": 100,
                 "train.sample_tokens": 200}  # fmt: skip


def parts_of(args):
    """The student's functions of the lessons in --mine, which are named -> list of Part.

    A run that is resumed knows its lessons. Raises UserError, before anything is written.
    """
    lessons = args.mine
    if args.resume and args.out and not lessons:
        from tinyllm.train.run import Run

        mine = Run(args.out).read_config()[1].get("mine", [])
        lessons = [str(number) for number in dict.fromkeys(part["lesson"] for part in mine)]
    if not lessons:
        return []
    from tinyllm.course import plugins  # here: a plain training needs nothing of the lessons
    from tinyllm.course.workspace import find_workspace

    workspace = find_workspace()
    parts, notes = plugins.load_parts(plugins.parse_lessons(lessons), workspace)
    if not args.json:
        names = ", ".join(f"{part.op} (lesson {part.lesson})" for part in parts)
        lines = [f"yours: {names}", *notes, *filter(None, [plugins.unproven(parts, workspace)]), SLOWER]
        print("\n".join(map(paragraph, lines)) + "\n", flush=True)
    return parts


SLOWER = "what calls yours runs on NumPy, not on the kernels, so this is several times slower"
AGAIN = "\nstopping after this step; Ctrl-C again stops at once, and says where\n"


@contextmanager
def naming(parts, run=None):
    """A training that blows up says which functions were the student's, for the rate may be innocent."""
    from tinyllm.train.trainer import Diverged

    try:
        yield
    except Diverged as error:
        if not (called := [part for part in parts if part.calls]):
            raise
        lessons = dict.fromkeys(str(part.lesson) for part in called)
        ways = [f"`tinyllm check {number}`" for number in lessons]
        ways += [f"`tinyllm blame {quoted(run.folder)}`"] if run else []
        names = ", ".join(part.op for part in called)
        ask = f"{', '.join(ways)} may find the one to blame"
        raise UserError(f"{error.what}; these were yours: {names}; {ask}") from None


def told(parts, run, trained):
    """What a run on a student's functions ends with: how often each ran, and what to do next."""
    from tinyllm.course.plugins import idle

    if trained:
        used = ", ".join(f"{part.op} {part.calls:,} times" for part in parts if part.calls)
        yield paragraph(f"yours ran: {used or 'none'}")
        yield from map(paragraph, idle(parts, "this training"))
    else:
        yield paragraph("there was nothing left to train, so none of yours ran")
    yield paragraph(f"tinyllm blame {quoted(run.folder)}    compares this with the library's own functions")


def settings_of(args):
    """Return the settings that the user gave, as {flat name: value}: --config, then flags, then --set."""
    from tinyllm.train.settings import parse_assignments, read_toml

    settings = dict(MINE_DEFAULTS) if args.mine and not args.resume else {}
    settings |= read_toml(args.config) if args.config else {}
    settings |= {
        setting: getattr(args, flag) for flag, setting in FLAGS.items() if getattr(args, flag) is not None
    }
    return settings | parse_assignments(args.assignments)


def new_run(args):
    """Return (Run, RunConfig) for a run that is not there yet.

    Raises UserError when its folder is taken.
    """
    from tinyllm.train.run import Run
    from tinyllm.train.settings import make_config

    config = make_config(settings_of(args))
    run = Run(args.out or free_folder(config, args.overwrite, "-mine" if args.mine else ""))
    run.check_writable()
    if run.holds_something() and not args.overwrite:
        raise UserError(
            f"{run.folder} holds a run already: go on with it (--resume), replace it (--overwrite), "
            "or choose another --out"
        )
    return run, config


def resumed_run(args):
    """Return (Run, RunConfig) for a run that is there.

    Raises UserError when the settings would change its result.
    """
    from tinyllm.train.run import Run
    from tinyllm.train.settings import make_config, resume_conflicts

    if not args.out:
        raise UserError("--resume needs --out DIR: which run do you mean?")
    run = Run(args.out)
    stored, _ = run.read_config()
    run.check_writable()
    config = make_config(stored.flat() | settings_of(args))
    if conflicts := resume_conflicts(stored, config):
        raise UserError(
            f"{run.folder} was trained with other settings ({'; '.join(conflicts)}): "
            "leave them out, or start a new run"
        )
    return run, config


def free_folder(config, overwrite, ending=""):
    """Return runs/DATA-PRESET, and -mine with --mine, with a number after it if that name is taken."""
    from tinyllm.train.run import Run

    name = re.sub(r"\W+", "-", Path(config.data).name.split(".")[0]).strip("-") or "stdin"
    first = folder = Path("runs") / f"{name}-{config.preset}{ending}"
    number = 2
    while Run(folder).holds_something() and not overwrite:
        folder = first.with_name(f"{first.name}-{number}")
        number += 1
    return folder


@contextmanager
def stop_on_signals(trainer, said=""):
    """Ctrl-C (or SIGTERM) asks the trainer to stop after the step at hand; a second one stops at once.

    `said` is written to standard error at the first.
    """

    def ask(number, frame):
        if trainer.stop_requested:
            raise KeyboardInterrupt
        trainer.stop_requested = True
        with suppress(OSError):  # not print: the signal may have come in the middle of one
            os.write(2, said.encode())

    if threading.current_thread() is not threading.main_thread():  # signals belong to the main thread
        yield
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
