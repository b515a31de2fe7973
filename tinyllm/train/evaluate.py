"""The validation loss: how surprised the model is by text that it was not trained on."""

import numpy as np

from tinyllm.nn.module import inference


def evaluate(model, tokens, windows, batch, chars_per_token):
    """Measure a model on windows spread evenly over `tokens`: (nats per token, nats per character).

    Nothing is random, and nothing of the model or of a random stream is changed. Windows do not overlap, so
    there may be fewer than asked for. `chars_per_token` is an array from `count_characters`. A character
    costs what its tokens cost together: the nats of all predicted tokens, divided by the characters that
    they spell. The model could also spell a text with other tokens, so this is an upper bound of what it
    really needs per character.
    """
    context = model.config.context
    starts = window_starts(len(tokens), context, windows)
    nats, characters = 0.0, 0
    with inference(model):
        for first in range(0, len(starts), batch):
            rows = np.stack([tokens[s : s + context + 1] for s in starts[first : first + batch]]).astype(
                np.int32
            )
            targets = rows[:, 1:]
            nats += model.loss(rows[:, :-1], targets).item() * targets.size
            characters += int(chars_per_token[targets].sum())
    return nats / (len(starts) * context), nats / characters if characters else None


def window_starts(length, context, windows):
    """Return the first positions of at most `windows` windows of context + 1 tokens, the first at the start
    of the text and the last at its end."""
    last = length - context - 1
    count = min(windows, max(1, (length - 1) // context))
    return [last * i // max(1, count - 1) for i in range(count)]


def count_characters(tokenizer):
    """Return how many characters each token stands for (V,): those whose first byte it holds.

    In UTF-8 every byte but a character's first looks like 10xxxxxx. So the counts of a text's tokens add up
    to its number of characters, even where a character is split over tokens.
    """
    spelt = (tokenizer.decode_bytes([token]) for token in range(tokenizer.vocab_size))
    return np.array([sum(byte & 0xC0 != 0x80 for byte in text) for text in spelt], np.int64)
