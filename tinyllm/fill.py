"""Fill in the masked tokens of a text, or find its class, with a model that sees both sides."""

from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.nn import EncoderLM, inference

Guesses = list[tuple[str, float]]  # texts and their probabilities, the likeliest first


def fill(model: EncoderLM, tokenizer: Any, text: Any, top: int = 5) -> tuple[str, list[Guesses]]:
    """Replace each [MASK] of a text by its likeliest token -> (text, the `top` guesses for each mask).

    text: a text, or a list of ids without [CLS] and [SEP]. All masks are guessed at once, so each is the
    likeliest for itself. Raises UserError when the text has no mask, or is too long.
    """
    name = model.special_tokens["mask"]
    ids = list(text) if isinstance(text, list) else tokenizer.encode(text, {name})
    mask = tokenizer.special_tokens[name]
    if mask not in ids:
        raise UserError(f"a {type(model).__name__} fills in masked tokens: write {name} in the text")
    if len(ids) > model.config.context - 2:
        raise UserError(f"the text has {len(ids)} tokens, and the model reads {model.config.context - 2}")
    tokens = np.array(model.framed(tokenizer.special_tokens, ids)[0])
    places = np.flatnonzero(tokens == mask)
    with inference(model):
        scores = model.head(model.hidden(tokens)[0][places]).data
    special = list(tokenizer.special_tokens.values())
    scores[:, special] = -np.inf  # nobody asked for one
    chances = ops.softmax(scores)
    best = np.argsort(-chances, axis=-1, kind="stable")[:, :top].tolist()
    guesses = [
        [(tokenizer.decode([token]), float(p[token])) for token in tokens]
        for tokens, p in zip(best, chances, strict=True)
    ]
    tokens[places] = chances.argmax(axis=-1)
    return tokenizer.decode(tokens[1:-1].tolist()), guesses


def classes(model: Any, tokenizer: Any, text: Any, second: str | None = None) -> Guesses:
    """Return the classes of a text, or of a pair, with their probabilities, the likeliest first.

    Raises UserError when the model has no classes.
    """
    other = None if second is None else tokenizer.encode(second)
    ids, segments = model.framed(tokenizer.special_tokens, tokenizer.encode(text), other)
    with inference(model):
        chances = ops.softmax(model.classify(np.array(ids), np.array(segments)).data[0])
    return [(model.config.labels[i], float(chances[i])) for i in np.argsort(-chances, kind="stable").tolist()]
