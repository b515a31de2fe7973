"""Run the cells of a lesson as a script would, and print MARK before each: python run_cells.py LESSON."""

import sys
from pathlib import Path

from tinyllm.course.stepping import cells

MARK = "\x00cell\x00"


def run(path: Path) -> None:
    """Run a lesson's code in one namespace."""
    sys.path[0] = str(path.parent)
    names = {"__name__": "__main__", "__file__": str(path)}
    for cell in cells(path.read_text("utf-8")):
        print(MARK, end="", flush=True)
        if not cell.prose:
            lines_above = "\n" * cell.line  # so that a traceback, and inspect, find the right line
            exec(compile(lines_above + cell.text, path, "exec"), names)
            sys.stdout.flush()


if __name__ == "__main__":
    run(Path(sys.argv[1]))
