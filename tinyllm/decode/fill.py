"""Use an encoder: fill in the masked tokens of a text, write a text from masks, or classify it.

An encoder sees the tokens on both sides of a mask. If it was trained with random shares of masked tokens (the
objective `diffusion`), it can write whole texts: it begins with masks only, and fills one in each step.
"""

from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.decode.sampling import Sampling
from tinyllm.errors import UserError
from tinyllm.nn import inference
from tinyllm.rng import Random

DEFAULT = Sampling()
Guesses = list[tuple[str, float]]  # texts and their probabilities, the likeliest first


def fill(model: Any, tokenizer: Any, text: Any, top: int = 5) -> tuple[str, list[Guesses]]:
    """Replace each [MASK] of a text by its likeliest token -> (text, the `top` guesses for each mask).

    text: a text, or a list of ids without [CLS] and [SEP]. All masks are filled at once, so no guess depends
    on another. Raises UserError when the text has no mask, or is too long.
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
    scores[:, list(tokenizer.special_tokens.values())] = -np.inf  # never guess a special token
    chances = ops.softmax(scores)
    best = np.argsort(-chances, axis=-1, kind="stable")[:, :top].tolist()
    guesses = [[(tokenizer.decode([token]), float(p[token])) for token in row]
               for row, p in zip(best, chances, strict=True)]
    tokens[places] = chances.argmax(axis=-1)
    return tokenizer.decode(tokens[1:-1].tolist()), guesses


def write(model: Any, tokenizer: Any, prompt: Any, length: int, *, sampling: Sampling = DEFAULT,
          seed: int = 0) -> tuple[str, list[int]]:
    """Write a text with an encoder: fill the masks of the prompt, or add `length` masks and fill them.

    Each step draws a token for every mask with `sampling`, but fills only the mask whose token is most
    probable. Fewer masks are added in a short context. Returns the text and its ids. Raises UserError
    when the prompt leaves no space in the context. (Chang et al., "MaskGIT", 2022, section 3.2; Nie et al.,
    LLaDA, 2025, section 2.4.)
    """
    special, name = tokenizer.special_tokens, model.special_tokens["mask"]
    mask, ids, room = special[name], tokenizer.encode(prompt, {name}), model.config.context - 2
    ids = ids if mask in ids else ids + [mask] * min(length, room - len(ids))
    if mask not in ids or len(ids) > room:
        raise UserError(f"the prompt has {len(ids)} tokens, and the model sees {room}: leave room to write")
    tokens = np.array(model.framed(special, ids)[0])
    u = Random(seed, "unmask", 0).uniform(len(tokens))
    while len(places := np.flatnonzero(tokens == mask)):
        with inference(model):
            logits = model.head(model.hidden(tokens)[0][places]).data.copy()
        logits[:, list(special.values())] = -np.inf
        drawn = sampling.choose(logits, [tokens.tolist()] * len(places), u[places])
        sure = ops.softmax(logits)[np.arange(len(places)), drawn]
        best = np.argmax(sure)
        tokens[places[best]] = drawn[best]
    written = tokens[1:-1].tolist()
    return tokenizer.decode(written), written


def classes(model: Any, tokenizer: Any, text: Any, second: str | None = None) -> Guesses:
    """Classify a text, or a pair of texts -> the classes and their probabilities, the likeliest first.

    Raises UserError when the model was not made for classification.
    """
    other = None if second is None else tokenizer.encode(second)
    ids, segments = model.framed(tokenizer.special_tokens, tokenizer.encode(text), other)
    with inference(model):
        chances = ops.softmax(model.classify(np.array(ids), np.array(segments)).data[0])
    return [(model.config.labels[i], float(chances[i])) for i in np.argsort(-chances, kind="stable").tolist()]
