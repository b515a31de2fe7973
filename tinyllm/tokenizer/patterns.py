"""Where a text is cut before byte pair encoding: between words, more or less, and no token crosses a cut.

Without the cuts, "dog", "dog." and "dog!" would each earn tokens of their own.
"""

import regex

from tinyllm.errors import UserError

# As published by OpenAI with GPT-2 (2019) and, for GPT-4, in tiktoken's cl100k_base (2022). \p{L} is any
# letter and \p{N} any digit of Unicode; `\s+(?!\S)` leaves the last of several spaces to the word that
# follows it.
GPT2 = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
GPT4 = (
    r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"""
    r"""| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
PATTERNS = {"gpt2": GPT2, "gpt4": GPT4}
LONGEST = 10_000  # characters in a pattern: a file must not make us compile a book


def compile_pattern(pattern):
    """Turn "gpt2", "gpt4" or a regular expression into a compiled one; UserError says what is wrong."""
    if not isinstance(pattern, str):
        raise UserError(f"a split pattern is gpt2, gpt4 or a regex in a str, not {type(pattern).__name__}")
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
