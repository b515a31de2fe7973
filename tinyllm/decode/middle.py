"""Write the prompt for a decoder that was trained to fill in the middle of a text."""

from typing import Any

from tinyllm import ops
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
