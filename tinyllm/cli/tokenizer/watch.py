"""`tinyllm tokenizer train --watch`: the merges as they happen."""

import sys
import time
from collections import deque
from contextlib import contextmanager

from tinyllm.cli.tokenizer import token_table
from tinyllm.ops.bpe import BYTES

ROWS = 16  # merges that a terminal shows at a time
PAUSE = 0.05  # seconds between two pictures: more is flicker
CLEAR = "\x1b[K"
HEAD = f"{'merge':>7} {'token':>7} {'count':>12}  parts and what they make"


@contextmanager
def watcher(total):
    """Give the callback `on_merge` of a training of `total` merges: live in a terminal, else a line each."""
    if not token_table.has_colours():
        yield Lines(total)
        return
    window = Window(total)
    try:
        yield window
    finally:
        if window.done:
            window.draw()


class Lines:
    """Prints every merge on a line of its own."""

    def __init__(self, total):
        self.total = total
        self.done = 0
        self.tokens = [bytes([i]) for i in range(BYTES)]

    def __call__(self, left, right, new, count):
        self.done += 1
        left, right = self.tokens[left], self.tokens[right]
        self.tokens.append(left + right)
        self.show(f"{self.done:>7} {new:>7} {count:>12,}  ", left, right)

    def show(self, numbers, left, right):
        if self.done == 1:
            print(HEAD)
        left, right, token = map(token_table.visible, (left, right, left + right))
        print(f"{numbers}|{left}|{right}| -> |{token}|")


class Window(Lines):
    """Draws the latest merges again in the same place, with the progress below."""

    def __init__(self, total):
        super().__init__(total)
        self.latest = deque(maxlen=ROWS)
        self.drawn, self.last = 0, 0.0

    def show(self, numbers, left, right):
        self.latest.append((numbers, left, right))
        if time.perf_counter() - self.last > PAUSE:
            self.draw()

    def draw(self):
        """Write the window over the one before."""
        lines = [f"{token_table.DIM}{HEAD}{token_table.RESET}"]
        lines += [numbers + _painted(left, right) for numbers, left, right in self.latest]
        share = self.done / self.total if self.total > 0 else 1
        lines.append(f"{self.done:>7,} of {self.total:,} merges, {share:.0%}")
        up = f"\x1b[{self.drawn}A\r" if self.drawn else ""
        sys.stdout.write(up + "".join(f"{line}{CLEAR}\n" for line in lines))
        sys.stdout.flush()
        self.drawn, self.last = len(lines), time.perf_counter()


def _painted(left, right):
    """Paint the parts in two colours and the token in a third, cut to the rest of the line."""
    room = max(12, token_table.columns() - 36)  # the numbers and the arrow take the rest
    half = room // 4
    shown = [token_table.fit(token_table.visible(part), half) for part in (left, right)]
    both = "".join(token_table.painted(part, number) for number, part in enumerate(shown))
    gap = " " * (2 * half - sum(map(token_table.width, shown)))
    token = token_table.fit(token_table.visible(left + right), room - 2 * half)
    return f"{both}{gap} -> {token_table.painted(token, 2)}"
