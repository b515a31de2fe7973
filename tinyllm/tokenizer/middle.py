"""Define special tokens for filling in the middle: one before prefix, suffix and middle, one at the end."""

from typing import Any

from tinyllm.errors import UserError
from tinyllm.tokenizer.text import START

MARKERS = (  # prefix, suffix, middle, end
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", START),  # Qwen2.5-Coder; new tokenizers here
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>", START),  # StarCoder
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>", START),  # SantaCoder
)


def find_markers(tokenizer: Any) -> tuple[int, ...] | None:
    """Return the ids of the markers of prefix, suffix, middle and end, or None if they are missing."""
    known = tokenizer.special_tokens | tokenizer.added_tokens
    found = next((names for names in MARKERS if all(name in known for name in names)), None)
    return found and tuple(known[name] for name in found)


def add_markers(tokenizer: Any) -> None:
    """Add the markers of prefix, suffix, middle and end to a tokenizer that has none."""
    if not find_markers(tokenizer):
        tokenizer.add_special_tokens(MARKERS[0])


def markers_of(tokenizer: Any) -> tuple[int, ...]:
    """Return the ids of the markers of prefix, suffix, middle and end. Raises UserError without markers."""
    markers = find_markers(tokenizer)
    if not markers:
        names = ", ".join(MARKERS[0])
        raise UserError(
            f"this tokenizer has no markers for a gap ({names}): train a model with "
            "`--set pretrain.middle=0.5`, or take one that was trained to fill in the middle"
        )
    return markers
