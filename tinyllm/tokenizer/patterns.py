"""Cut a text into pieces by any regular expression. Published patterns are in ops/pieces.py."""

from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import regex

from tinyllm.errors import UserError
from tinyllm.ops.pieces import GPT4, PATTERNS, split_pieces
from tinyllm.ops.registry import _compiled
from tinyllm.ops.unicode import in_this_version

LONGEST = 10_000  # characters in a pattern, because a file could hold a huge one
PATIENCE = 10  # seconds for the matches of a text; a pattern such as (a+)+b could take forever
SPEED = 10**5  # characters for which a pattern gets one more second; usual ones match a hundred times as many
QWEN2 = GPT4.replace(r"\p{N}{1,3}", r"\p{N}")  # Qwen 2 and later: every digit alone
_WORDS = r""" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
NAMES = {source: name for name, source in PATTERNS.items()} | {
    # Other spellings, which match the same in every text: GPT-2's own, two of tiktoken; its GPT-4 of 2023.
    r"""'s|'t|'re|'ve|'m|'ll|'d|""" + _WORDS: "gpt2",
    r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s""": "gpt2",
    r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s""": "gpt2",
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}"""
    r"""| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+""": "gpt4",
}
_BEHIND_A_WORD = regex.compile(rb"(?r)(?<=[A-Za-z])[ \n]")  # a cut in all PATTERNS; searched from the end


def kernels(operation: Any) -> Any:
    """Return the compiled module if a kernel runs this op, or None."""
    if operation._run is operation.implementations.get("compiled"):  # the usual case, and the quick answer
        return _compiled
    return _compiled if operation.backend == "compiled" else None


def compile_pattern(pattern: str) -> regex.Pattern:
    """Compile a name in PATTERNS, or a regular expression. Raises UserError if it is invalid."""
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


def split(compiled: regex.Pattern, text: str) -> Iterator[str]:
    """Cut a text into pieces: the matches of the pattern, and also the parts between them.

    text: str -> iterator of non-empty str. Joined together, the pieces are always the text. (`findall` would
    drop the parts that the pattern does not match.) Raises UserError if a pattern of the user takes very
    long, because some need exponential time.
    """
    published = compiled.pattern in NAMES or compiled.pattern == QWEN2
    limit = {} if published else {"timeout": PATIENCE + len(text) / SPEED}  # checking the time takes time
    done = 0
    try:
        for match in compiled.finditer(in_this_version(text), **limit):
            start, end = match.span()
            yield from filter(None, (text[done:start], text[start:end]))
            done = end
    except TimeoutError:
        raise UserError(
            f"the split pattern {compiled.pattern[:60]!r} tried to match this text for {PATIENCE} seconds "
            "and more; write it without a repeated group"
        ) from None
    if done < len(text):
        yield text[done:]


class Splitter:
    """Cut text into pieces by a pattern. The well-known patterns in PATTERNS run in C."""

    def __init__(self, pattern: str):
        """Compile a pattern: a name in PATTERNS or a regular expression. Raises UserError if it is wrong."""
        self._compiled = compile_pattern(pattern)
        self.published = pattern if pattern in PATTERNS else NAMES.get(pattern)  # None: a regex of the user

    def pieces(self, text: str) -> Iterator[str]:
        """Cut a text into pieces: str -> iterator of non-empty str."""
        if self.published and split_pieces.replaced:
            data = text.encode("utf-8", "surrogateescape")
            ends = split_pieces(data, self.published).tolist()
            return (data[a:b].decode("utf-8", "surrogateescape") for a, b in pairwise([0, *ends]))
        return split(self._compiled, text)

    def cuts(self, texts: list[bytes]) -> tuple[str | None, list[np.ndarray] | None]:
        """Return what kernels need to split texts: (published pattern, None) or (None, ends of pieces)."""
        if self.published and kernels(split_pieces):
            return self.published, None
        return None, [self._ends(text) for text in texts]

    def _ends(self, data):
        """Split bytes into pieces -> int64 array of the offsets at which the pieces end."""
        pieces = self.pieces(data.decode("utf-8", "surrogateescape"))
        sizes = (len(piece.encode("utf-8", "surrogateescape")) for piece in pieces)
        return np.fromiter(accumulate(sizes), np.int64)

    def last_cut(self, data: bytes) -> int:
        """Return the last position where bytes can be cut without changing a piece, 0 if there is none."""
        if not self.published or split_pieces.replaced:
            return 0  # an unknown pattern may look at any character
        if not kernels(split_pieces):
            found = _BEHIND_A_WORD.search(data)
            return found.start() if found else 0
        for back in (2**10, 2**16, len(data)):
            at = kernels(split_pieces).piece_cut(data, max(len(data) - back, 0))
            if at < len(data):
                return at
        return 0
