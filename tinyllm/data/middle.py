"""Move the middle of a text to its end, so that a decoder learns to fill gaps, and ask it to fill one.

Random numbers come from a key such as (seed, step).
"""

import re
from collections.abc import Callable, Sequence
from itertools import accumulate, chain
from typing import Any

from tinyllm import ops
from tinyllm.data.batches import Batch, rows
from tinyllm.errors import UserError
from tinyllm.ops.loss import IGNORED
from tinyllm.rng import Random
from tinyllm.tokenizer.text import markers_of


def fill_in_the_middle(text: str, encode: Callable[[str], Sequence[int]], markers: Sequence[int], *key: Any,
                       lines: float = 0.0) -> list[int]:
    """Move a random middle part of a text to the end, and return token ids with four markers.

    A model that is trained on such texts can fill gaps. Half of them have the suffix first (SPM, see
    `ops.move_middle`). (Bavarian et al. 2022, section 3.)

    markers: the ids of the special tokens for prefix, suffix, middle and end.
    lines: the probability that the middle consists of whole lines.
    key: selects the random numbers.
    """
    random = Random(*key, "middle")
    draws, first = tuple(random.uniform(2).tolist()), random.uniform() < 0.5
    parts = cut_lines(text, draws) if random.uniform() < lines else ops.split_middle(text, draws)
    return ops.move_middle(*(list(encode(part)) for part in parts), markers, first)


def cut_lines(text: str, draws: Sequence[float]) -> tuple[str, str, str]:
    """Cut a text at two random places between lines, and return (prefix, middle, suffix)."""
    ends = [0, *accumulate(map(len, text.splitlines(keepends=True)))]
    begin, end = sorted(ends[int(u * len(ends))] for u in draws)
    return text[:begin], text[begin:end], text[end:]


def middles(batch: Batch, tokenizer: Any, markers: Sequence[int], *key: Any, rate: float = 0.5,
            separator: str = "", room: int | None = None, lines: float = 0.0) -> Batch:
    """Rearrange some rows of a batch (B, T) to train filling in the middle; return a batch (B, T).

    Each row is chosen with probability `rate`; other rows do not change. A chosen row is decoded, rearranged
    and encoded again. It first loses tokens at its beginning if it would not fit into `room` tokens (default
    T), because the markers need room. If a `separator` ends documents, the middle of each document in the row
    is moved to the end of this document. Longer rows are cut off, shorter rows are padded with targets of
    -100. For `lines` see `fill_in_the_middle`. (Bavarian et al. 2022, appendix B: rearranging inside of a
    context never shows half of a rearranged document.)
    """
    draws, found = Random(*key, "rate").uniform(len(batch.tokens)), []
    room = room or batch.tokens.shape[1]
    for row, (tokens, targets) in enumerate(zip(batch.tokens, batch.targets, strict=True)):
        line = [int(tokens[0]), *targets[targets != IGNORED].tolist()]
        if draws[row] < rate:
            pieces = documents(tokenizer.decode(line, "ignore"), separator)
            over = max(0, len(line) + 2 * len(markers) * len(pieces) - (room + 1))
            pieces = documents(tokenizer.decode(line[over:], "ignore"), separator)
            moved = (fill_in_the_middle(piece, tokenizer.encode, markers, *key, row, i, lines=lines)
                     for i, piece in enumerate(pieces))
            line = [*chain.from_iterable(moved)]
        found.append(line)
    return rows([line[:1] for line in found], [line[1:] for line in found], room)


def documents(text: str, separator: str) -> list[str]:
    """Cut a text into documents after each separator; without a separator, the text is one document.

    A separator before a space does not end a document, because in code a blank line before an indented line
    is inside a function.
    """
    parts = re.split(rf"(?<={re.escape(separator)})(?=\S)", text) if separator else [text]
    return [part for part in parts if part] or [""]


def middle_prompt(model: Any, tokenizer: Any, prefix: str | bytes, suffix: str | bytes, max_tokens: int,
                  suffix_first: bool = False) -> list[int]:
    """Return the prompt after which a model writes the middle of a text, followed by an end token.

    The order is prefix, suffix, middle (PSM), which all models with these markers know; with `suffix_first`
    the order is SPM (see `ops.move_middle`). If the context is too short for the text and `max_tokens` more,
    tokens far from the gap are left out. Raises UserError if the tokenizer has no markers, or nothing fits.
    """
    markers, context = markers_of(tokenizer), model.config.context
    room = context - max_tokens - len(markers)
    if room < 1:
        raise UserError(f"a gap of {max_tokens} tokens leaves no room for the text around it in a context of "
                        f"{context}: ask for fewer tokens")
    before, after = ops.trim_sides(tokenizer.encode(prefix), tokenizer.encode(suffix), room)
    return ops.move_middle(before, [], after, markers, suffix_first)[:-1]
