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
SIGNS = {"*": (0, inf), "+": (1, inf), "?": (0, 1)}
COUNT = re.compile(r"(?:([*+?])|{([0-9]{1,9})(?:(,)([0-9]{0,9}))?})\??")  # a last ?: lazy, the same texts fit
CHARACTER = re.compile(r"\\(?:([dDwWsS])|([nrtfv])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|([].^$*+?()[{}|\\/-]))"
                       r"|([^\\])")


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
        if found := COUNT.match(self.pattern, self.at):
            sign, least, comma, most = found.groups()
            low, high = SIGNS[sign] if sign else (
                int(least), int(most) if most else inf if comma else int(least))
            self.at = found.end()
        elif self._take("{"):
            self.at = begin
            raise self._error("has a count that is none of {n}, {n,} and {n,m}")
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
        found = CHARACTER.match(self.pattern, self.at)
        if not found and self.at + 1 >= len(self.pattern):
            raise UserError(f"the pattern {self.pattern[-20:]!r} ends too early")
        if not found:
            raise self._error("is not supported; \\x takes 2 hexadecimal digits, and \\u 4")
        self.at = found.end()
        kind, control, x, u, special, other = found.groups()
        if kind:
            return CLASSES[kind]
        c = ord(CONTROLS.get(control) or special or other or chr(int(x or u, 16)))
        if 0xD800 <= c <= 0xDFFF:
            raise self._error("is half of a character")
        return [(c, c)]

    def _class(self) -> Ranges:
        """Read a class, behind its opening bracket."""
        negative, ranges = self._take("^"), []
        while not self._take("]"):
            found = self._characters()
            if self.pattern[self.at + 1 : self.at + 2] != "]" and self._take("-"):
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
