"""Cut a text into pieces, about one for each word, before byte pair encoding; no token spans two pieces.

Without the cuts, "dog", "dog." and "dog!" would each become a token.
"""

import numpy as np
import regex

from tinyllm.errors import UserError
from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array
from tinyllm.ops.unicode import in_this_version

# As published by OpenAI: with GPT-2 (2019), and in tiktoken's cl100k_base (GPT-4, 2022) and o200k_base
# (GPT-4o, 2024). \p{L} is any letter, \p{N} any digit and \p{M} any mark (ops/unicode.py); `\s+(?!\S)` leaves
# the last of several spaces to the next word; o200k also cuts where a capital follows a small letter.
# Later versions of tiktoken write cl100k_base in another way, which does not cut the blanks at the end of a
# text after a line break. The ids are the same: tokens were learnt with the cut, so none extends across it.
GPT2 = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
GPT4 = (
    r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"""
    r"""| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
O200K = (
    r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
    r"""|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
    r"""|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
QWEN2 = GPT4.replace(r"\p{N}{1,3}", r"\p{N}")  # Qwen 2 and later: every digit alone
PATTERNS = {"gpt2": GPT2, "gpt4": GPT4, "o200k": O200K, "qwen2": QWEN2}


@op
def split_pieces(text: bytes, pattern: str) -> Array:
    """Return where a text is cut into pieces, which are the consecutive matches of a pattern.

    text: n bytes, pattern: a name in PATTERNS -> int64 array of the ends of all pieces; the last end
    is n. A byte that is not UTF-8 counts as one character, neither letter nor digit nor space (PEP 383).
    Raises TypeError for a text that is not bytes, UserError for another pattern.
    """
    if not isinstance(text, (bytes, bytearray, memoryview)):
        raise TypeError(f"text must be bytes, not {type(text).__name__}; use text.encode()")
    if not isinstance(pattern, str) or pattern not in PATTERNS:
        raise UserError(f"split_pieces knows the patterns {', '.join(PATTERNS)}, not {pattern!r}")
    decoded = bytes(text).decode("utf-8", "surrogateescape")
    matches = regex.finditer(PATTERNS[pattern], in_this_version(decoded))
    pieces = [decoded[match.start() : match.end()] for match in matches]
    return np.cumsum([len(piece.encode("utf-8", "surrogateescape")) for piece in pieces], dtype=np.int64)
