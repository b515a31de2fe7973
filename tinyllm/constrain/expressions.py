"""Describe a set of texts by an expression, and follow it byte by byte.

The derivative of an expression by a byte describes what may come after that byte (Brzozowski, "Derivatives of
regular expressions", 1964). So an expression is a state of its own automaton, which is made only as far as a
text goes, and counts such as `{1,1000}` cost nothing. An expression that names a rule may contain itself:
nested JSON needs no stack beside the expression.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import chain
from math import inf

from tinyllm.errors import UserError

NOTHING, EMPTY = 0, 1  # the expression that no text fits, and the one that only the empty text fits
MOST, WORK = 20_000, 400_000  # nodes that a caller may make, and how often it may ask for one
Ranges = list[tuple[int, int]]  # code points, from the first to the last of each range
ANY: Ranges = [(0, 0xD7FF), (0xE000, 0x10FFFF)]  # all characters


class Expressions:
    """Make expressions, which are numbers of nodes; equal expressions are one number.

    writable: the bytes that can be written alone. An expression needs no other, so whatever it still allows
    can be brought to an end, and takes at most `shortest` tokens for that.
    """

    def __init__(self, writable: Iterable[int]):
        self._writable = sum(1 << byte for byte in set(writable))
        self.nodes: list[tuple] = []
        self._numbers: dict[tuple, int] = {}
        self._most: float = MOST
        self._left: float = WORK
        self.rules: dict[str, int] = {}
        self.shortest: list[float] = []  # of each node: bytes of the shortest text; inf: none
        self.derived = 0  # how many options and bytes were looked at: about a million in half a second
        self._branches: dict[int, dict[int, int] | None] = {}  # None: being worked out
        for node in (("either",), ("repeat", NOTHING, 0, 0)):
            self._number(node)

    def _number(self, node: tuple) -> int:
        self._left -= 1
        if self._left < 0 or len(self.nodes) > self._most:
            raise UserError(f"this takes more than {MOST} parts, or repeats them too often: make it smaller")
        if node not in self._numbers:
            self._numbers[node] = len(self.nodes)
            self.nodes.append(node)
            self.shortest.append(self._shortest(node))
        return self._numbers[node]

    def _shortest(self, node):
        match node:
            case "sequence", first, rest:
                return self.shortest[first] + self.shortest[rest]
            case "either", *options:
                return min((self.shortest[e] for e in options), default=inf)
            case "repeat", e, low, _:
                return low and low * self.shortest[e]
            case "rule", name:
                return self.shortest[self.rules[name]] if name in self.rules else inf
        return 1

    def finish(self) -> None:
        """Work out `shortest` when all rules are known.

        Raises UserError if a rule begins with itself.
        """
        self._most = self._left = inf  # following a text makes nodes, too
        for e in self.rules.values():
            self.branches(e)
        before: list[float] = []
        while self.shortest != before:  # a rule may use rules that were defined later
            before = self.shortest.copy()
            for number, node in enumerate(self.nodes):
                self.shortest[number] = self._shortest(node)

    def one_of(self, allowed: Iterable[int]) -> int:
        """Return the expression for one byte of those allowed."""
        mask = sum(1 << byte for byte in set(allowed)) & self._writable
        return self._number(("byte", mask)) if mask else NOTHING

    def sequence(self, *parts: int) -> int:
        """Return the expression for one part after the other."""
        return reduce(lambda rest, first: self._pair(first, rest), reversed(parts), EMPTY)

    def _pair(self, first, rest):
        if NOTHING in (first, rest):
            return NOTHING
        spine = []  # (ab)c is written a(bc), so that a derivative only looks at the first of many parts
        while self.nodes[first][0] == "sequence":
            _, part, first = self.nodes[first]
            spine.append(part)
        for part in (first, *reversed(spine)):
            if EMPTY in (part, rest):
                rest = part if rest == EMPTY else rest
            else:
                rest = self._number(("sequence", part, rest))
        return rest

    def either(self, *options: int) -> int:
        """Return the expression for any of the options."""
        flat: set[int] = set()
        for e in options:
            flat.update(self.nodes[e][1:] if self.nodes[e][0] == "either" else [e])
        self.derived += len(options) + len(flat)
        return flat.pop() if len(flat) == 1 else self._number(("either", *sorted(flat)))

    def repeat(self, e: int, low: int = 0, high: float = inf) -> int:
        """Return the expression for e, from low to high times."""
        if high < low or (e == NOTHING and low):
            return NOTHING
        if high == 0 or e in (NOTHING, EMPTY):
            return EMPTY
        return e if low == high == 1 else self._number(("repeat", e, low, high))

    def rule(self, name: str) -> int:
        """Return the expression for what `rules[name]` describes: one byte or more, never itself first."""
        return self._number(("rule", name))

    def text(self, text: str) -> int:
        """Return the expression for a text."""
        return self.sequence(*(self.one_of([byte]) for byte in text.encode()))

    def character(self, ranges: Ranges) -> int:
        """Return the expression for one character of the ranges, in UTF-8."""
        return self.either(*(self.sequence(*(self.one_of(range(low, high + 1)) for low, high in pair))
                             for low, high in ranges for pair in _utf8_ranges(low, high)))

    def row(self, e: int) -> list[int]:
        """Return the derivatives by each of the 256 bytes, computed once for bytes that act alike."""
        branches = self.branches(e).items()
        self.derived += 256
        alike: dict[tuple, int] = {}
        row = []
        for byte in range(256):
            key = tuple(mask >> byte & 1 for mask, _ in branches)
            if key not in alike:
                alike[key] = self.either(*(after for mask, after in branches if mask >> byte & 1))
            row.append(alike[key])
        return row

    def branches(self, e: int) -> dict[int, int]:
        """Return {bytes, as bits: what may come after one of them} for texts of e; sets may share bytes."""
        if e in self._branches and self._branches[e] is None:
            raise UserError("a rule begins with itself, so no text fits it: let it begin with something else")
        if e not in self._branches:
            self._branches[e] = None
            match self.nodes[e]:
                case "byte", mask:
                    found = {mask: EMPTY}
                case "sequence", first, rest:
                    found = self._joined([self.branches(first)], rest)
                    if not self.shortest[first]:
                        found = self._joined([found, self.branches(rest)])
                case "either", *options:
                    found = self._joined(map(self.branches, options))
                case "repeat", once, low, high:
                    found = self._joined([self.branches(once)], self.repeat(once, max(low - 1, 0), high - 1))
                case "rule", name:
                    found = self.branches(self.rules[name])
            self._branches[e] = found
        return self._branches[e] or {}

    def _joined(self, several, rest=EMPTY):
        """Join branches, those of the same bytes to one, and put `rest` behind each."""
        found: dict[int, list[int]] = {}
        for mask, after in chain.from_iterable(branches.items() for branches in several):
            found.setdefault(mask, []).append(after)
        return {mask: self._pair(self.either(*afters), rest) for mask, afters in found.items()}


def complement(ranges: Ranges) -> Ranges:
    """Return the ranges of all characters that are in none of these."""
    found, at = [], 0
    for low, high in [*sorted(ranges), (0x110000, 0x110000)]:
        found += [(max(at, a), min(low - 1, b)) for a, b in ANY if max(at, a) <= min(low - 1, b)]
        at = max(at, high + 1)
    return found


def _utf8_ranges(low: int, high: int) -> Iterable[Sequence[tuple[int, int]]]:
    """Yield, for code points from low to high, ranges of each byte: their products are the UTF-8 texts."""
    first, last = chr(low).encode(), chr(high).encode()
    cuts = [cut for cut in (0x80, 0x800, 0x10000) if low < cut <= high]  # where characters get a byte more
    for place in range(1, len(first)):  # cut until all bytes after the first different one take all values
        block = 1 << 6 * (len(first) - place)
        if low // block != high // block and low % block:
            cuts.append((low // block + 1) * block)
        elif low // block != high // block and (high + 1) % block:
            cuts.append(high // block * block)
    if not cuts:
        yield list(zip(first, last, strict=True))
        return
    yield from _utf8_ranges(low, cuts[0] - 1)
    yield from _utf8_ranges(cuts[0], high)
