"""Fill in the middle of a text with a decoder that was trained to do so."""

from collections.abc import Sequence
from typing import Any

from tinyllm import ops
from tinyllm.decode.generate import generate
from tinyllm.errors import UserError
from tinyllm.tokenizer.middle import markers_of


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


def fill_middle(model: Any, tokenizer: Any, gaps: Sequence[tuple[str, str]], max_tokens: int = 64,
                **options: Any) -> list[str]:
    """Write the missing text of each gap: a list of (prefix, suffix) -> a list of texts.

    options: passed to `generate`, such as sampling and seed; with n, the n texts for a gap follow each other.
    Raises UserError if the tokenizer has no markers, or `max_tokens` fill the context.
    """
    end = markers_of(tokenizer)[-1]
    prompts = [middle_prompt(model, tokenizer, *gap, max_tokens) for gap in gaps]
    found = generate(model, prompts, max_tokens=max_tokens, stop=[end], **options)
    return [tokenizer.decode(ids[:-1] if ids[-1:] == [end] else ids) for ids in found]
