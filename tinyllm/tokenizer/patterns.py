"""Cutting a text into pieces by any regular expression; the published ones are in ops/pieces.py."""

import regex

from tinyllm.errors import UserError
from tinyllm.ops.pieces import PATTERNS

LONGEST = 10_000  # characters in a pattern: a file must not make us compile a book


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


def split(compiled, text):
    """Cut a text into pieces: the matches of the pattern, and also whatever lies between them.

    text: str -> iterator of non-empty str. The pieces joined are the text, whatever the pattern: `findall`
    alone would silently lose all that the pattern does not match.
    """
    done = 0
    for match in compiled.finditer(text):
        start, end = match.span()
        if done < start:
            yield text[done:start]
        if start < end:
            yield text[start:end]
        done = end
    if done < len(text):
        yield text[done:]
