"""`tinyllm report RUN`: write the page about a run anew."""

from pathlib import Path

EXAMPLE = """example:
  tinyllm report runs/stories-nano
  tinyllm report runs/stories-nano --out my-first-model.html
"""


def add_parser(subparsers):
    """Add `tinyllm report`."""
    what = "write the page about a run anew"
    parser = subparsers.add_parser("report", help=what, description=what.capitalize() + ".", epilog=EXAMPLE)
    parser.add_argument("folder", metavar="RUN", help="the folder of a run")
    parser.add_argument("--out", metavar="FILE", help="where to write it (default: RUN/report.html)")
    parser.set_defaults(run=run)


def run(args):
    """Write the report and say where it is."""
    from tinyllm.train.report import write_report
    from tinyllm.train.run import Run

    path = write_report(Run(args.folder), args.out and Path(args.out))
    print(f"wrote {path}")
