"""`tinyllm tokenizer train --watch`: show the merges as they happen."""

import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from tinyllm.cli.text import has_colours
from tinyllm.cli.tokenizer import token_table
from tinyllm.ops.bpe import BYTES

ROWS = 16  # merges that a terminal shows at a time
PAUSE = 0.05  # seconds between two pictures: more is flicker
CLEAR = "\x1b[K"
HEAD = f"{'merge':>7} {'token':>7} {'count':>12}  parts and what they make"


@contextmanager
def watcher(total: int) -> Iterator["Lines"]:
    """Yield the callback `on_merge` for `total` merges: a live window in a terminal, else a line each."""
    if not has_colours():
        yield Lines(total)
        return
    window = Window(total)
    try:
        yield window
    finally:
        if window.done:
            window.draw()


class Lines:
    """A callback that prints every merge on a line of its own."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.tokens = [bytes([i]) for i in range(BYTES)]

    def __call__(self, left: int, right: int, new: int, count: int) -> None:
        self.done += 1
        parts = self.tokens[left], self.tokens[right]
        self.tokens.append(parts[0] + parts[1])
        self.show(f"{self.done:>7} {new:>7} {count:>12,}  ", *parts)

    def show(self, numbers: str, left: bytes, right: bytes) -> None:
        """Show a merge: its numbers, then the parts and the token that they make."""
        if self.done == 1:
            print(HEAD)
        shown = [token_table.visible(token) for token in (left, right, left + right)]
        print(f"{numbers}|{shown[0]}|{shown[1]}| -> |{shown[2]}|")


class Window(Lines):
    """A callback that redraws the latest merges in the same place, with the progress below."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.latest: deque[tuple[str, bytes, bytes]] = deque(maxlen=ROWS)
        self.drawn, self.last = 0, 0.0

    def show(self, numbers: str, left: bytes, right: bytes) -> None:
        self.latest.append((numbers, left, right))
        if time.perf_counter() - self.last > PAUSE:
            self.draw()

    def draw(self) -> None:
        """Write the window over the previous one."""
        lines = [f"{token_table.DIM}{HEAD}{token_table.RESET}"]
        lines += [numbers + _painted(left, right) for numbers, left, right in self.latest]
        share = self.done / self.total if self.total > 0 else 1
        lines.append(f"{self.done:>7,} of {self.total:,} merges, {share:.0%}")
        up = f"\x1b[{self.drawn}A\r" if self.drawn else ""
        sys.stdout.write(up + "".join(f"{line}{CLEAR}\n" for line in lines))
        sys.stdout.flush()
        self.drawn, self.last = len(lines), time.perf_counter()


def _painted(left: bytes, right: bytes) -> str:
    """Paint the parts in two colours and the token in a third, cut to the rest of the line."""
    room = max(12, token_table.columns() - 36)  # the numbers and the arrow take the rest
    half = room // 4
    shown = [token_table.fit(token_table.visible(part), half) for part in (left, right)]
    both = "".join(token_table.painted(part, number) for number, part in enumerate(shown))
    gap = " " * (2 * half - sum(map(token_table.width, shown)))
    token = token_table.fit(token_table.visible(left + right), room - 2 * half)
    return f"{both}{gap} -> {token_table.painted(token, 2)}"
