"""Help a lesson's script to stop before each step, ask for predictions, and show results.

In a terminal `begin` makes the script stop before each piece of code; q or Ctrl-C ends the script. Without a
terminal, the script runs without waiting. `predict` asks for a number before a result is shown, and `compare`
comments on it afterwards.
"""

import argparse
import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from timeit import timeit
from typing import Any

import numpy as np
from tqdm import tqdm

from tinyllm.course.stepping import Cell, Stepper
from tinyllm.course.syllabus import syllabus
from tinyllm.course.workspace import short_path
from tinyllm.errors import UserError
from tinyllm.report.terminal import BOLD, bar, paint, paragraph

STOPPED = "stopped; with --from {} the lesson starts at this step"
QUIET = "TINYLLM_LESSON"  # if it is "quiet", a script shows results only, and nothing waits or asks


def quiet() -> bool:
    """Return True if the environment variable TINYLLM_LESSON is "quiet"."""
    return os.environ.get(QUIET) == "quiet"


def interactive() -> bool:
    """Return True if the script runs in a terminal and TINYLLM_LESSON is not "quiet"."""
    return sys.stdin.isatty() and sys.stdout.isatty() and not quiet()


def begin(digits: int | None = None) -> Path:
    """Start stepping through the calling script; return its folder (in a notebook, the current folder).

    The script's option --from N starts at step N. digits: how many are printed behind an array's points.
    """
    if digits is not None:
        np.set_printoptions(precision=digits, suppress=True)
    frame = sys._getframe(1)
    path = frame.f_globals.get("__file__")
    if path is None:  # a notebook
        return Path.cwd()
    folder = Path(path).absolute().parent
    if os.path.realpath(sys.argv[0]) == os.path.realpath(path):
        sys.excepthook = _leave
        parser = argparse.ArgumentParser(prog=f"python {short_path(path)}", allow_abbrev=False)
        parser.add_argument("--from", dest="start", type=int, default=1, metavar="N", help="start at step N")
        start = parser.parse_args().start
        if not quiet():
            stepper = Stepper(frame, Path(path), ask if interactive() else None, start)
            for lesson in (each for each in syllabus() if each.folder == folder.name):
                fill_in = f"next: fill in {short_path(folder / lesson.exercise)}"
                told = paragraph(f"{fill_in}, then type `tinyllm check {lesson.number}`")
                stepper.cells.append(Cell(sys.maxsize, True, told))
    return folder


def _leave(kind, error, trace):
    """Handle exceptions of the script: leave quietly on Ctrl-C, and print one line for a UserError."""
    if issubclass(kind, KeyboardInterrupt):
        print("\n" + STOPPED.format(Stepper.number), file=sys.stderr)
    elif issubclass(kind, UserError):
        print(f"tinyllm: error: {error}", file=sys.stderr)
        raise SystemExit(2)
    else:
        sys.__excepthook__(kind, error, trace)


def predict(question: str) -> float | None:
    """Ask for a number at a terminal before the result is shown; return None without an answer."""
    while interactive():
        answer = ask(f"{paint(f'? {question}', BOLD)}\n  (a number, or Enter to pass) ")
        if not answer:
            return None
        try:
            return float(answer)
        except ValueError:
            print("  a number such as 4.2, 1000 or 1e6, please")
    print(f"? {question}")
    return None


def ask(prompt: str) -> str:
    """Read a line from the user at a terminal; q or the end of the input ends the program."""
    if sys.stdin.isatty():  # keys typed during a computation must not answer this question
        with contextlib.suppress(ImportError):  # Windows has no termios
            import termios

            termios.tcflush(sys.stdin, termios.TCIFLUSH)
    try:
        answer = input(prompt).strip()
    except EOFError:
        answer = "q"
        print()
    if answer.lower() == "q":
        print(STOPPED.format(Stepper.number))
        sys.exit()
    return answer


def compare(guess: float | None, actual: float) -> str:
    """Return a line that compares a prediction with the result."""
    said = f"it is {actual:,}" if isinstance(actual, int) else f"it is {actual:.4g}"
    if guess is None:
        return said
    ratio = guess / actual if actual else float(guess == actual)
    if abs(ratio - 1) < 0.02:
        return f"{said}: you said {guess:.6g}, well predicted"
    return f"{said}; you said {guess:.6g}" + f", which is {ratio:.2g} times as much" * (ratio > 0)


def spread(values: Sequence[float], form: str = ".1f") -> str:
    """Format a mean over seeds; of several, with the lowest and highest."""
    mean, low, high = (f"{x:{form}}" for x in (np.mean(values), min(values), max(values)))
    return f"{mean} ({low} to {high})" if len(values) > 1 else mean


def timed(function: Callable[..., Any], *args: Any, seconds: float = 0.3) -> float:
    """Return how long the shortest of several calls took: what disturbs a call only makes it longer."""
    best, end = math.inf, time.monotonic() + seconds
    while time.monotonic() < end:
        best = min(best, timeit(lambda: function(*args), number=1))
    return best


def progress(losses: Iterable[Any], total: int) -> Iterable[Any]:
    """Show the progress of training on a terminal: `tl.fit(..., progress=progress)`."""
    return tqdm(losses, total=total, leave=False, disable=quiet() or None)


def show_page(path: Path) -> None:
    """Print the path of an HTML page."""
    print(f"wrote {short_path(path)}, {path.stat().st_size / 1000:.0f} kB: open it in a browser")


def bars(values: Iterable[float], labels: Sequence[Any], width: int = 48) -> str:
    """Draw values >= 0 as horizontal bars, one per line."""
    values = [float(v) for v in values]
    largest = max(values, default=0) or 1
    room = max(map(len, map(str, labels)), default=0)
    return "\n".join(f"  {label!s:>{room}} {bar(v / largest, width):<{width}} {v:.4g}"
                     for label, v in zip(labels, values, strict=True))
