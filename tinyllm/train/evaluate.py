"""Compute the validation loss, which is the loss on text that the model was not trained on."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tinyllm.data import Batch
from tinyllm.errors import UserError
from tinyllm.nn.module import inference


def evaluate(model: Any, batches: Iterable[Batch], loss: Callable,
             characters: np.ndarray | None = None) -> dict[str, float | None]:
    """Return {"val_loss": nats per target, "val_loss_per_char": nats per character} over some batches.

    The result also has the means of other numbers that `loss` reports, such as "val_accuracy". It is
    deterministic, and neither the model nor a random stream is changed. `characters` (V,) is from
    `count_characters`. The loss per character is the nats of all predicted tokens, divided by their number of
    characters. The same text could also be written with other tokens, so this is an upper bound of the
    model's true loss per character. Raises UserError when no target counts.
    """
    nats, counted, spelt = 0.0, 0.0, 0
    sums: dict[str, float] = {}
    with inference(model):
        for batch in batches:
            result = loss(model, batch)
            result, numbers = result if isinstance(result, tuple) else (result, {})
            nats += result.item() * batch.count
            for name, number in numbers.items():
                sums[name] = sums.get(name, 0.0) + number * batch.count
            counted += batch.count
            if characters is not None:
                spelt += int(characters[batch.targets[batch.targets >= 0]].sum())
    if not counted:
        raise UserError("there is nothing to evaluate: no batch, or no target that counts")
    found = {"val_loss": nats / counted, "val_loss_per_char": nats / spelt if spelt else None}
    return found | {f"val_{name}": total / counted for name, total in sums.items()}


def perplexity(nats: float) -> str:
    """Format the perplexity, exp(nats), with four digits, or as inf if it is too large for a float."""
    return f"{math.exp(nats) if nats < 709 else math.inf:.4g}"


def count_characters(tokenizer: Any) -> np.ndarray:
    """Count the characters that begin in each token of a tokenizer, (V,).

    In UTF-8, all bytes of a character except the first have the form 10xxxxxx. So the counts of a text's
    tokens add up to its number of characters, even if a character is split over several tokens.
    """
    spelt = (tokenizer.decode_bytes([token]) for token in range(tokenizer.vocab_size))
    return np.array([sum(byte & 0xC0 != 0x80 for byte in text) for text in spelt], np.int64)
