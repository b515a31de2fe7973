"""Show a lesson in a terminal: wait for Enter between its steps, and ask questions."""

import shutil
import sys
from typing import Any

from tinyllm.report.terminal import FAINT, paint

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]


class Screen:
    """A substitute for standard output that writes nothing while `muted` is True."""

    def __init__(self, stream: Any):
        self.stream, self.muted = stream, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write a text, unless the screen is muted, and return the text's length."""
        return len(text) if self.muted else self.stream.write(text)

    def pause(self, prompt: str) -> None:
        """Wait for Enter; q ends the program."""
        dashes = "-" * (min(shutil.get_terminal_size().columns, 80) - len(prompt) - 3)
        self.ask(paint(f"{dashes} {prompt}", FAINT) + " ")

    def ask(self, prompt: str) -> str:
        """Read a line from the user; q or the end of the input ends the program."""
        forget_typed()
        try:
            answer = input(prompt).strip()
        except EOFError:
            answer = "q"
            self.stream.write("\n")
        if answer.lower() == "q":
            self.stream.write("stopped\n")
            sys.exit()
        return answer


def forget_typed() -> None:
    """Discard keys typed during a computation, so that they do not answer the next question."""
    if termios and sys.stdin.isatty():
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
