"""Run the cells of a lesson as a script would: python run_cells.py LESSON.

MARK is printed before the output of each cell, and before the peak memory in MiB at the end.
"""

import sys
from pathlib import Path

from tinyllm.course.stepping import cells
from tinyllm.train.memory import peak_rss_mb

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
    print(MARK, int(peak_rss_mb() or 0), sep="", end="")


if __name__ == "__main__":
    run(Path(sys.argv[1]))
