"""`tinyllm report RUN`: write the report.html of a run again."""

from pathlib import Path

from tinyllm.cli import add_command

EXAMPLE = """example:
  tinyllm report runs/stories-nano
  tinyllm report runs/stories-nano --out my-first-model.html
"""


def add_parser(subparsers):
    """Add `tinyllm report`."""
    parser = add_command(subparsers, "report", "write the report.html of a run again", EXAMPLE)
    parser.add_argument("folder", metavar="RUN", help="the folder of a run")
    parser.add_argument("--out", metavar="FILE", help="where to write it (default: RUN/report.html)")
    parser.set_defaults(run=run)


def run(args):
    """Write the report and say where it is."""
    from tinyllm.report.run import write_report
    from tinyllm.train.run import Run

    path = write_report(Run(args.folder), args.out and Path(args.out))
    print(f"wrote {path}")
