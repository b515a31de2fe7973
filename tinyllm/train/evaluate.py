"""The validation loss: how surprised the model is by text that it was not trained on."""

import math

import numpy as np

from tinyllm.data import eval_batches
from tinyllm.nn.module import inference


def evaluate(model, tokens, windows, batch, chars_per_token):
    """Measure a model on windows spread evenly over `tokens`: (nats per token, nats per character).

    Nothing is random, and nothing of the model or of a random stream is changed. `chars_per_token` is an
    array from `count_characters`. A character costs what its tokens cost together: the nats of all
    predicted tokens, divided by the characters that they spell. The model could also spell a text with
    other tokens, so this is an upper bound of what it really needs per character.
    """
    nats, predicted, characters = 0.0, 0, 0
    with inference(model):
        for x, y in eval_batches(tokens, model.config.context, batch, windows):
            nats += model.loss(x, y).item() * y.size
            predicted += y.size
            characters += int(chars_per_token[y].sum())
    return nats / predicted, nats / characters if characters else None


def perplexity(nats):
    """Write e to the power of a loss as text: 12.34, 2.5e+30, or inf where no float holds it."""
    value = math.exp(nats) if nats < 709 else math.inf
    return f"{value:.2f}" if value < 1e6 else f"{value:.3g}"


def count_characters(tokenizer):
    """Return how many characters each token stands for (V,): those whose first byte it holds.

    In UTF-8 every byte but a character's first looks like 10xxxxxx. So the counts of a text's tokens add
    up to its number of characters, even where a character is split over tokens.
    """
    spelt = (tokenizer.decode_bytes([token]) for token in range(tokenizer.vocab_size))
    return np.array([sum(byte & 0xC0 != 0x80 for byte in text) for text in spelt], np.int64)
