"""Define `Plan`: what a training needs beside model and optimizer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Plan:
    """The arguments of `train` that are made from data and model; a recipe returns them.

    train_tokens, val_tokens: the number of tokens for training and for validation.
    prompt: the beginning of samples if the setting `train.sample_prompt` cannot be used.
    healthy: {name: (low, high, advice)}, the normal range of each number that the loss reports, and advice
        for values outside of the range.
    sample: a function of the model that returns a sample as text; None if samples continue the prompt.
    """

    batches: Callable[[int], Any]
    loss: Callable[[Any, Any], Any]
    evaluate: Callable[[Any], dict[str, float]]
    train_tokens: int
    val_tokens: int
    prompt: list[int]
    healthy: dict[str, tuple[float, float, str]] = field(default_factory=dict)
    sample: Callable[[Any], str] | None = None


def doctor(plan: Plan, record: dict[str, Any]) -> str:
    """Return a line with the numbers that the loss reported, and advice if they are out of range; or ""."""
    words = []
    for name, (low, high, advice) in plan.healthy.items():
        if (value := record.get(name)) is not None:
            off = "" if low <= value <= high else f" (healthy: {low:g} to {high:g}; {advice})"
            words.append(f"{name} {value:.3g}{off}")
    return ", ".join(words)
