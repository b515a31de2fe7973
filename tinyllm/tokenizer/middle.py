"""Define special tokens for filling in the middle: one before prefix, suffix and middle, one at the end."""

from typing import Any

from tinyllm.errors import UserError
from tinyllm.tokenizer.text import START

MARKERS = (  # prefix, suffix, middle, end
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", START),  # Qwen2.5-Coder; new tokenizers here
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>", START),  # StarCoder
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>", START),  # SantaCoder
)


def add_markers(tokenizer: Any) -> None:
    """Add the markers of prefix, suffix, middle and end to a tokenizer that has none."""
    if not _markers(tokenizer):
        tokenizer.add_special_tokens(MARKERS[0])


def markers_of(tokenizer: Any) -> tuple[int, ...]:
    """Return the ids of the markers of prefix, suffix, middle and end. Raises UserError without markers."""
    if markers := _markers(tokenizer):
        return markers
    names = ", ".join(MARKERS[0])
    raise UserError(f"this tokenizer has no markers for a gap ({names}): train a model with "
                    "`--set pretrain.middle=0.5`, or take one that was trained to fill in the middle")


def _markers(tokenizer):
    known = tokenizer.special_tokens | tokenizer.added_tokens
    return next((tuple(map(known.get, names)) for names in MARKERS if known.keys() >= {*names}), ())
