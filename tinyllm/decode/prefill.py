"""Read prompts into the cache: many in one pass, and long ones in chunks, so that others need not wait."""

from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

from tinyllm.decode.choose import log_probs
from tinyllm.decode.sequence import Sequence
from tinyllm.decode.slots import Slots
from tinyllm.errors import UserError
from tinyllm.nn.language_model import LanguageModel
from tinyllm.padding import pad_right
from tinyllm.tensor import Tensor
from tinyllm.tokenizer.text import read_prompt

LOGITS = 2**22  # how many logits of a prompt's tokens are computed at once: 16 MB


def begin(model: Any, prompts: Any, tokenizer: Any, cache: list | None = None, first: int = 0,
          ) -> tuple[list[list[int]], list | None]:
    """Return the ids that a model continues, and the cache that they begin with, a row for each, or None.

    A decoder continues the prompts. An encoder-decoder reads them, and continues its start token. `first` is
    the number of the first prompt in messages. Raises UserError for an invalid prompt.
    """
    if not isinstance(model, LanguageModel):
        raise UserError(f"a {type(model).__name__} writes no text: derive the model from nn.DecoderLM; "
                        "docs/use.md shows how")
    ids = [read_prompt(model.config, b, prompt, tokenizer, [] if cache else model.end_ids)
           for b, prompt in enumerate(prompts, first)]
    if model.is_encoder_decoder and cache is None:
        return [[model.config.start] for _ in ids], model.read(ids)
    return ids, cache


class Chunk(NamedTuple):
    """Some tokens of a sequence that the next pass reads."""

    row: int
    sequence: Sequence
    size: int  # how many tokens


def prompt_key(s: Sequence) -> Hashable:
    """Return a key that equal prompts share, so that one is read for all; with a cache or echo, a new one."""
    return id(s) if s.cache or s.request.echo else tuple(s.window[:-1])


def read_prompts(sequences: list[Sequence], slots: Slots, budget: int) -> None:
    """Read at most `budget` tokens, fewest unread first; sequence i has row i of the slots.

    Equal prompts are read once and copied.
    """
    unread = [row for row, s in enumerate(sequences) if s.unread]
    equal: dict[Hashable, list[int]] = {}
    for row in sorted(unread, key=lambda row: sequences[row].unread):
        equal.setdefault(prompt_key(sequences[row]), []).append(row)
    chunks, left = [], budget
    for row, *_ in equal.values():
        if left:
            chunks.append(Chunk(row, sequences[row], min(left, sequences[row].unread)))
            left -= chunks[-1].size
    for batch in batches(sorted(chunks), budget, slots.model.config.context):
        read(batch, len(sequences), slots)
    for first, *others in equal.values():
        if others and not sequences[first].unread:
            slots.copy(slots.cache, [first] * len(others), others)
            for row in others:
                sequences[row].unread = 0


def batches(chunks: list[Chunk], limit: int, context: int) -> Iterator[list[Chunk]]:
    """Split chunks, sorted by row, into batches of neighbours that one padded pass can read."""
    batch: list[Chunk] = []
    width = longest = 0
    for chunk in chunks:
        width, longest = max(width, chunk.size), max(longest, chunk.sequence.cached)
        if batch and not (
            chunk.row == batch[-1].row + 1
            and chunk.sequence.echoes == batch[-1].sequence.echoes
            and width * (len(batch) + 1) <= limit
            and longest + width <= context
        ):
            yield batch
            batch, width, longest = [], chunk.size, chunk.sequence.cached
        batch.append(chunk)
    if batch:
        yield batch


def read(batch: list[Chunk], rows: int, slots: Slots) -> None:
    """Read the chunks in one pass."""
    # The padding is on the right, so no token sees it; before the next pass it is cut off the cache.
    lengths = [chunk.sequence.cached for chunk in batch]
    tokens = pad_right([chunk.sequence.window[at : at + chunk.size]
                        for chunk, at in zip(batch, lengths, strict=True)])
    slots.reserve(rows, max(lengths) + tokens.shape[1])
    x = slots.read(batch[0].row, lengths, tokens, whole=batch[0].sequence.echoes)
    if x is not None:
        echo(batch, x, slots.model)
    for _, s, size in batch:
        s.unread -= size
        if not (s.unread or s.request.max_tokens):
            s.finish = "length"


def echo(batch: list[Chunk], x: Tensor, model: Any) -> None:
    """Score the token after each one that was read, from its vector in x (B, n, C), a few at a time."""
    piece = max(1, LOGITS // (len(batch) * model.config.vocab_size))
    for start in range(0, x.shape[1], piece):
        tables = log_probs(model.head(x[:, start : start + piece]).data)
        for (_, s, size), table in zip(batch, tables, strict=True):
            at = s.cached + 1 + start
            s.score(at, table, s.ids[at : min(at + piece, s.cached + 1 + size)])
