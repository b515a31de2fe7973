"""Read a regular expression as an expression of a grammar.

The subset: literals; `.`; classes such as `[^a-z_]`; `\\d \\w \\s` and their opposites, of ASCII as in
JavaScript; groups; `|`; `* + ? {n} {n,} {n,m}`, lazy or not; `^` at the beginning and `$` at the end, which
change nothing, as the whole text must fit. Others (backreferences, looking around, `\\b`) raise UserError.
"""

import re
from collections.abc import Callable
from math import inf

from tinyllm.constrain.expressions import ANY, EMPTY, Expressions, Ranges, complement
from tinyllm.errors import UserError

LONGEST, GROUPS = 500, 50  # characters and groups of a pattern
COUNTS = 1_000  # how often a part may be counted in counted parts: more would be slow to follow
DIGITS = [(48, 57)]
CLASSES: dict[str, Ranges] = {
    "d": DIGITS, "w": [*DIGITS, (65, 90), (95, 95), (97, 122)], "s": [(9, 13), (32, 32)],
}
CLASSES |= {name.upper(): complement(ranges) for name, ranges in CLASSES.items()}
CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
HEX = {"x": 2, "u": 4}  # digits after \x and \u
SPECIAL = ".^$*+?()[]{}|\\/-"


class Pattern:
    """Read a pattern once, from left to right. `character` makes the expression for one of its classes."""

    def __init__(self, grammar: Expressions, pattern: str, character: Callable[[Ranges], int] | None = None):
        self.grammar, self.character, self.pattern = grammar, character or grammar.character, pattern
        self.at = 0

    def read(self, whole: bool) -> int:
        """Return the expression. whole=False: others may stand around, but not before ^ or behind $.

        Raises UserError for what is no pattern, or not in the subset.
        """
        others = self.grammar.repeat(self.character(ANY))
        before = EMPTY if self._take("^") or whole else others
        e, _ = self._options()
        if self.pattern[self.at :] not in ("", "$"):
            raise self._error("has no opening bracket")
        after = EMPTY if self.at < len(self.pattern) or whole else others
        return self.grammar.sequence(before, e, after)

    def _error(self, what):
        return UserError(f"{self.pattern[self.at :][:10]!r} at {self.at} of the pattern {what}")

    def _take(self, text):
        found = self.pattern.startswith(text, self.at)
        self.at += len(text) * found
        return found

    def _next(self):
        if self.at == len(self.pattern):
            raise UserError(f"the pattern {self.pattern[-20:]!r} ends too early")
        self.at += 1
        return self.pattern[self.at - 1]

    def _options(self):
        """Read options between bars -> (expression, how often its parts are counted at most)."""
        options, counts = [], 1
        while not options or self._take("|"):
            parts = []
            while self.pattern[self.at :] not in ("", "$") and self.pattern[self.at] not in "|)":
                e, count = self._counted()
                parts.append(e)
                counts = max(counts, count)
            options.append(self.grammar.sequence(*parts))
        return self.grammar.either(*options), counts

    def _counted(self):
        """Read one part, and how often it comes."""
        begin = self.at
        e, count = self._part()
        low, high = 1, 1
        if (sign := self.pattern[self.at : self.at + 1]) in ("*", "+", "?"):
            self.at += 1
            low, high = {"*": (0, inf), "+": (1, inf), "?": (0, 1)}[sign]
        elif self._take("{"):
            found = re.compile(r"([0-9]{1,9})(,?)([0-9]{0,9})}").match(self.pattern, self.at)
            if not found or (found[3] and not found[2]):
                self.at = begin
                raise self._error("has a count that is none of {n}, {n,} and {n,m}")
            low, self.at = int(found[1]), found.end()
            high = int(found[3]) if found[3] else inf if found[2] else low
        self._take("?")  # lazy: the same texts fit
        count *= max(low, 1 if high == inf else high)
        if count > COUNTS or self.pattern[self.at : self.at + 1] in ("*", "+", "?"):
            self.at = begin
            raise self._error(f"is counted too often: {COUNTS} times at most, counts in counts multiplied")
        return self.grammar.repeat(e, low, high), count

    def _part(self):
        if self._take("("):
            if self._take("?") and not self._take(":"):
                self.at -= 2
                raise self._error("is not supported: of groups with ? only (?:...) is")
            found = self._options()
            if not self._take(")"):
                raise UserError(f"the pattern {self.pattern[-20:]!r} lacks a closing bracket")
            return found
        if self._take("["):
            ranges = self._class()
        elif self._take("."):
            ranges = complement([(10, 10), (13, 13), (0x2028, 0x2029)])
        elif self.pattern[self.at] in "*+?{}]^$":
            raise self._error("is not supported here: put a backslash before a character that is meant")
        else:
            ranges = self._characters()
        return self.character(ranges), 1

    def _characters(self) -> Ranges:
        """Read a character, or an escape that may stand for several."""
        c = self._next()
        if c == "\\":
            c = self._next()
            if c in CLASSES:
                return CLASSES[c]
            if c in HEX:
                digits = self.pattern[self.at : self.at + HEX[c]]
                if len(digits) < HEX[c] or not set(digits) <= set("0123456789abcdefABCDEF"):
                    raise self._error(f"must be {HEX[c]} hexadecimal digits")
                self.at += HEX[c]
                c = chr(int(digits, 16))
            elif c not in SPECIAL and c not in CONTROLS:
                self.at -= 2
                raise self._error("is not supported")
            c = CONTROLS.get(c, c)
        if "\ud800" <= c <= "\udfff":
            raise self._error("is half of a character")
        return [(ord(c), ord(c))]

    def _class(self) -> Ranges:
        """Read a class, behind its opening bracket."""
        negative, ranges = self._take("^"), []
        while not self._take("]"):
            found = self._characters()
            if self.pattern[self.at : self.at + 1] == "-" and self.pattern[self.at + 1 : self.at + 2] != "]":
                self._next()
                last = self._characters()
                if len(found) > 1 or len(last) > 1 or found[0][0] > last[0][1] or found[0][0] < found[0][1]:
                    raise self._error("follows a range that is none")
                found = [(found[0][0], last[0][1])]
            ranges += found
        return complement(ranges if negative else complement(ranges))  # twice: sorted, without surrogates


def read_regex(grammar: Expressions, pattern: str, character: Callable[[Ranges], int] | None = None,
               whole: bool = True) -> int:
    """Return the expression for a caller's pattern: see `Pattern.read`.

    Raises UserError, also for a pattern that is too long.
    """
    if len(pattern) > LONGEST or pattern.count("(") > GROUPS:
        raise UserError(f"a pattern has at most {LONGEST} characters and {GROUPS} groups: shorten it")
    return Pattern(grammar, pattern, character).read(whole)
