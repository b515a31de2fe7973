"""Make plans of training on random windows of a long text."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from tinyllm.data import Batch, eval_batches, get_batch, token_array
from tinyllm.errors import UserError
from tinyllm.train.evaluate import evaluate
from tinyllm.train.plan import Plan


def plan_of_windows(
    parts: Any,
    length: int,
    layout: Callable[..., Batch],
    loss: Callable[[Any, Any], Any],
    *,
    learn: Callable[..., Batch] | None = None,
    sample: Callable[..., str] | None = None,
    characters: np.ndarray | None = None,
) -> Plan:
    """Return a plan that trains on windows of the first part of a corpus and validates on the rest.

    parts: data and model, as a recipe gets them. Raises UserError if a part of the text is too short.
    length: the number of tokens in a window.
    layout(x, y, *key): makes a batch from tokens x (B, length) and the token after each, y; `key` selects the
        random numbers.
    learn(batch, *key): changes a batch of training; batches of validation stay as they are.
    sample(model, tokens): returns a text to show, from the first window that is held out; by default samples
        continue a text.
    characters: see `evaluate`.
    """
    corpus, tokenizer = parts.corpus, parts.tokenizer
    train, seed, found = parts.config.train, parts.config.seed, []
    for name, text in zip(("training", "validation"), corpus.split(train.val_fraction), strict=True):
        found.append(tokens := token_array(text, tokenizer))
        if len(tokens) < length + 1:
            raise UserError(
                f"the {name} part of {corpus.name} has {len(tokens)} tokens, and a context of "
                f"{parts.model.config.context} needs at least {length + 1}: take more text, or a smaller "
                "--set model.context"
            )
    learnt, held_out = found

    def batches(step):
        batch = layout(*get_batch(learnt, seed, step, train.batch, length), seed, step)
        return learn(batch, seed, step) if learn else batch

    def measure(model):
        windows = eval_batches(held_out, length, train.batch // train.accumulate, train.eval_windows)
        same = (layout(x, y, "validation", i) for i, (x, y) in enumerate(windows))
        return evaluate(model, same, loss, characters)

    prompt = [int(learnt[0])]
    with suppress(UserError):  # a new line that is not in the vocabulary
        prompt = tokenizer.encode("\n\n") or prompt  # where stories and speeches begin
    plan = Plan(batches, loss, measure, len(learnt), len(held_out), prompt)
    if sample:
        plan.sample = partial(sample, tokens=held_out[:length].tolist())
    return plan
