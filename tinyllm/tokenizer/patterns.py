"""Cutting a text into pieces by any regular expression; the published ones are in ops/pieces.py."""

import functools
import re
from itertools import accumulate, pairwise

import numpy as np
import regex

from tinyllm.errors import UserError
from tinyllm.ops.pieces import PATTERNS, split_pieces
from tinyllm.ops.registry import _compiled

LONGEST = 10_000  # characters in a pattern: a file must not make us compile a book
PATIENCE = 10  # seconds for one match of a pattern that may take for ever, such as (a+)+b
MOST_REPEATS, MOST_CHOICES = 2, 12  # in one alternative of a pattern that surely does not
SPELT = {  # as tiktoken spells GPT-2's today, for speed; it matches the same in every text
    r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s""": "gpt2",
}
_PARTS = regex.compile(
    r"""(?P<atom>\\[pP]\{[^}]*\}|\\[^1-9gkK\s]|\[\^?\]?(?:\\.|[^\\\[\]])*\]|[^\\\[\]()|?*+{}])"""
    r"""|(?P<open>\((?:\?(?:[:=!>]|<[=!]|i:))?(?!\?))|(?P<close>\)(?![*+{]))|(?P<or>\|)"""
    r"""|(?P<repeat>[*+][?+]?|\{\d*,?\d*\})|(?P<perhaps>\?[?+]?)""",
)


def compile_pattern(pattern):
    """Turn a name in PATTERNS or a regular expression into a compiled one; UserError says what is wrong."""
    if not isinstance(pattern, str):
        names = ", ".join(PATTERNS)
        raise UserError(f"a split pattern is {names} or a regex in a str, not {type(pattern).__name__}")
    source = PATTERNS.get(pattern, pattern)
    if len(source) > LONGEST:
        raise UserError(f"the split pattern has {len(source)} characters; use at most {LONGEST}")
    try:
        source.encode()
        compiled = regex.compile(source)
    except (regex.error, UnicodeEncodeError, ValueError, OverflowError, RecursionError, MemoryError) as e:
        why = " ".join(str(e).split()) or type(e).__name__
        raise UserError(f"the split pattern {source[:60]!r} is not a regular expression: {why}") from None
    if compiled.flags & regex.REVERSE:
        raise UserError("the split pattern searches backwards: take (?r) out, text is split from the left")
    return compiled


@functools.cache
def surely_quick(source):
    """Whether a pattern cannot try very many ways to match at one place, by its look alone.

    It is one of plain parts: no group is repeated, nothing is referred back to, and no alternative repeats
    more than twice or chooses more than twelve times. The published patterns are such, and most of others'.
    """
    depth, repeats, choices, at = 0, 0, 0, 0
    while at < len(source):
        part = _PARTS.match(source, at)
        if part is None:
            return False
        at, kind = part.end(), part.lastgroup
        depth += (kind == "open") - (kind == "close")
        if kind == "or" and depth == 0:
            repeats = choices = 0
        repeats += kind == "repeat"
        choices += kind in ("or", "perhaps")
        if repeats > MOST_REPEATS or choices > MOST_CHOICES:
            return False
    return True


def found(compiled, text):
    """Where a pattern matches in a str, one match after the other -> iterator of (start, end).

    A pattern can have more ways to match than there is time to try, on a text of forty characters. Raises
    UserError where one match takes more than PATIENCE seconds.
    """
    last, news = (0, -1), True
    while news:
        news = False
        try:
            for match in compiled.finditer(text, max(last[1], 0), **_limit(compiled)):
                if match.span() != last:
                    last, news = match.span(), True
                    yield last
            return
        except TimeoutError:  # the time was that of all matches together: go on behind the last
            continue
    raise _gave_up(compiled)


def search(compiled, text, at):
    """The first match of a pattern from a place on, or None. Raises UserError as `found` does."""
    try:
        return compiled.search(text, at, **_limit(compiled))
    except TimeoutError:
        raise _gave_up(compiled) from None


def _limit(compiled):
    """What bounds the time of a search, where need be: looking at the clock makes it 2 to 4 times slower.

    The patterns of our own, compiled by `re`, which has no clock, are plain.
    """
    return {} if isinstance(compiled, re.Pattern) or surely_quick(compiled.pattern) else {"timeout": PATIENCE}


def _gave_up(compiled):
    return UserError(
        f"the split pattern {compiled.pattern[:60]!r} tried for {PATIENCE} seconds to match one place of "
        "this text; write it without a repeated group"
    )


def split(compiled, text):
    """Cut a text into pieces: the matches of the pattern, and also whatever lies between them.

    text: str -> iterator of non-empty str. The pieces joined are the text, whatever the pattern: `findall`
    alone would silently lose all that the pattern does not match.
    """
    done = 0
    for start, end in found(compiled, text):
        if done < start:
            yield text[done:start]
        if start < end:
            yield text[start:end]
        done = end
    if done < len(text):
        yield text[done:]


class Splitter:
    """Cuts text into pieces by a pattern, in C where it is a published one."""

    def __init__(self, pattern):
        """pattern: a name in PATTERNS or a regular expression. Raises UserError."""
        self._compiled = compile_pattern(pattern)
        names = SPELT | {spelt: name for name, source in PATTERNS.items() for spelt in (name, source)}
        self.published = names.get(pattern)  # its name, unless the pattern is the user's own

    def pieces(self, text):
        """Cut a str -> iterator of non-empty str."""
        if self.published and split_pieces.replaced:
            data = text.encode("utf-8", "surrogateescape")
            ends = split_pieces(data, self.published).tolist()
            bounds = pairwise([0, *ends])
            return (data[start:end].decode("utf-8", "surrogateescape") for start, end in bounds)
        return split(self._compiled, text)

    def ends(self, data):
        """Where the pieces of some bytes end -> int64 array."""
        text = data.decode("utf-8", "surrogateescape")
        pieces = self.pieces(text)
        if len(text) == len(data):  # each character is one byte
            sizes = map(len, pieces)
        else:
            sizes = (len(piece.encode("utf-8", "surrogateescape")) for piece in pieces)
        return np.fromiter(accumulate(sizes), np.int64)

    def orders(self, texts):
        """What the kernels want to know of some texts: the name of a pattern, or the ends of all pieces."""
        if self.published and split_pieces.backend == "compiled":
            return self.published, None
        return None, [self.ends(text) for text in texts]

    def last_cut(self, data):
        """The last place where bytes can be cut and no piece is, whatever is around them; 0 if none."""
        if not self.published or split_pieces.replaced:
            return 0  # nobody knows what such a pattern looks at
        if split_pieces.backend == "compiled":
            for back in (2**10, 2**16, len(data)):
                at = _compiled.piece_cut(data, max(len(data) - back, 0))
                if at < len(data):
                    return at
            return 0
        found = _BEHIND_A_WORD.search(data)
        return found.start() if found else 0


_BEHIND_A_WORD = regex.compile(rb"(?r)(?<=[A-Za-z])[ \n]")  # a cut in each of PATTERNS; from the end
