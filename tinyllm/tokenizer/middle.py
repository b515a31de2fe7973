"""Define special tokens for filling in the middle: one before prefix, suffix and middle, one at the end."""

from typing import Any

from tinyllm.errors import UserError
from tinyllm.tokenizer.text import START

MARKERS = "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", START  # of Qwen2.5-Coder, too


def add_markers(tokenizer: Any) -> None:
    """Add the markers of prefix, suffix, middle and end to a tokenizer that lacks them."""
    if not (tokenizer.special_tokens | tokenizer.added_tokens).keys() >= {*MARKERS}:
        tokenizer.add_special_tokens(MARKERS)


def markers_of(tokenizer: Any) -> tuple[int, ...]:
    """Return the ids of the markers of prefix, suffix, middle and end. Raises UserError without markers."""
    known = tokenizer.special_tokens | tokenizer.added_tokens
    if not known.keys() >= {*MARKERS}:
        raise UserError(f"this tokenizer has no markers for a gap ({', '.join(MARKERS)}): train a model with "
                        "`--set pretrain.middle=0.5`, or take one that was trained to fill in the middle")
    return tuple(known[name] for name in MARKERS)
