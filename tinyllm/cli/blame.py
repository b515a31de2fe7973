"""`tinyllm blame`: which of your functions keeps a run of `train --mine` from its loss."""

import sys
from pathlib import Path

from tinyllm.cli import add_command
from tinyllm.cli.text import paragraph
from tinyllm.errors import UserError

EXAMPLE = """example:
  tinyllm train --mine 4,5,6 --steps 50
  tinyllm blame                          the newest run with functions of yours
  tinyllm blame runs/stories-nano-mine
"""


def add_parser(subparsers):
    """Add `tinyllm blame`."""
    what = "find out which function of yours spoils a run of `train --mine`"
    parser = add_command(subparsers, "blame", what, EXAMPLE)
    parser.add_argument("folder", metavar="RUN", nargs="?", help="a run; the newest in runs/ if not given")
    parser.set_defaults(run=run_blame)


def run_blame(args):
    """Train the first steps again, with fewer and fewer of the student's parts; 1 if one is to blame."""
    from tinyllm.course.blame import Blame
    from tinyllm.course.plugins import load_parts, parse_lessons, unproven
    from tinyllm.course.workspace import find_workspace
    from tinyllm.train.run import Run
    from tinyllm.train.setup import reopen

    run = Run(args.folder) if args.folder else newest()
    config, _ = run.read_config()
    records = records_of(run)
    numbers = dict.fromkeys(str(record["lesson"]) for record in records)
    workspace = find_workspace()
    parts, _ = load_parts(parse_lessons(numbers), workspace)
    recorded = {record["op"]: record["sha256"] for record in records}
    parts = [part for part in parts if part.op in recorded]
    if not parts:
        raise UserError(f"what {run.folder} was trained with is not in your exercises any more")
    if any(part.sha256 != recorded[part.op] for part in parts):
        print(paragraph("your files have changed since this run; what follows is about them as they are now"))
    with Bar() as bar:
        blame = Blame(reopen(run, config), parts, tick=bar.tick)
        finding = blame.find()
    lines = [*told(blame, finding), *filter(None, [unproven(parts, workspace)])]
    print("\n".join(map(paragraph, lines)))
    return 1 if finding.culprits else 0


def records_of(run):
    """Return which functions of the student's a run remembers. Raises UserError when there are none."""
    from tinyllm.course.training import replaced_ops

    records = replaced_ops(run)
    if not records:
        raise UserError(f"{run.folder} was trained by the library alone; see `tinyllm train --mine N`")
    return records


def newest():
    """Return the newest run in runs/ with functions of the student's. Raises UserError."""
    from tinyllm.course.training import replaced_ops
    from tinyllm.train.run import Run

    files = sorted(Path("runs").glob("*/run.json"), key=lambda path: -path.stat().st_mtime)
    for path in files:
        try:
            if replaced_ops(Run(path.parent)):
                return Run(path.parent)
        except UserError:
            continue
    raise UserError("there is no run of `tinyllm train --mine` in runs/; give its folder")


def told(blame, finding):
    """The finding in words."""
    last, steps = finding.losses[-1], blame.steps
    yield f"the library's own functions reach a loss of {last:.4f} after {steps} steps"
    trial = finding.all_parts
    if trial.right:
        lessons = dict.fromkeys(part.lesson for part in blame.parts.values())
        ways = ", ".join(f"`tinyllm check {number}`" for number in lessons)
        yield f"yours stay within {max(blame.allowed):.4f} of it at every step: nothing to blame"
        yield f"what a training does not feel, {ways} may: there each function is tried by itself"
        return
    if trial.failure:
        yield f"yours stop at step {trial.step}: {trial.failure}"
    else:
        numbers = f"{trial.what} {trial.got:.4f} where {trial.want:.4f} is right"
        yield f"yours leave the range at step {trial.step}: {numbers}"
    if finding.together:
        yield f"no single function does it, only together: {', '.join(finding.culprits)}"
    for op in finding.culprits:
        part = blame.parts[op]
        yield f"to blame: {part.title}"
        if op in finding.failures:
            yield f"  {finding.failures[op]}"
        yield f"  `tinyllm check {part.lesson}` says what is wrong with it"
    if finding.confirmed:
        whose = "it" if len(finding.culprits) == 1 else "them"
        yield f"with the library's in place of {whose}, the loss is right"


class Bar:
    """A line on stderr that says which trial is running; only in a terminal."""

    def __init__(self):
        self.bar = None

    def __enter__(self):
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(unit=" steps", bar_format="{desc:<40} {n:>5} steps, {elapsed}", leave=False)
        return self

    def __exit__(self, *exc):
        if self.bar is not None:
            self.bar.close()

    def tick(self, title):
        """Count one step of a trial."""
        if self.bar is not None:  # a bar without a total has no truth value
            self.bar.set_description_str(title, refresh=False)
            self.bar.update()
