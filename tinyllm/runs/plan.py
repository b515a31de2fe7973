"""Define `Plan`, what a training needs beside model and optimizer; make plans for windows of a long text."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from tinyllm.data import Batch, eval_windows, get_batch, token_array
from tinyllm.errors import UserError
from tinyllm.train.evaluate import evaluate
from tinyllm.train.loop import Loop


@dataclass
class Plan:
    """The arguments of `train` that are made from data and model; a recipe returns them."""

    batches: Callable[[int], Any]
    loss: Callable[[Any, Any], Any]
    evaluate: Callable[[Any], dict[str, float]]
    train_tokens: int
    val_tokens: int
    prompt: list[int]  # the beginning of samples if the setting `train.sample_prompt` cannot be used
    # {name of a number that is reported: (low, high, advice for values outside of this range)}
    healthy: dict[str, tuple[float, float, str]] = field(default_factory=dict)
    report: Callable[[Any], dict[str, float]] = lambda batch: {}  # from a batch of training to more numbers
    known: dict[str, float] = field(default_factory=dict)  # numbers of all steps, which are logged, too
    examples: int = 0  # how many a private training draws from; 0: its rows are no examples
    pair: Batch | None = None  # the first two of them
    loop: Callable[..., Loop] = Loop  # what trains
    promise: str = ""  # of clients who train privately
    sample: Callable[[Any], str] | None = None  # from the model to a text; None: samples continue the prompt


def doctor(plan: Plan, record: dict[str, Any]) -> str:
    """Return a line with the logged numbers of `plan.healthy`, and advice if one is out of range; or ""."""
    words = []
    for name, (low, high, advice) in plan.healthy.items():
        if (value := record.get(name)) is not None:
            off = "" if low <= value <= high else f" (healthy: {low:g} to {high:g}; {advice})"
            words.append(f"{name.replace('_', ' ')} {value:.3g}{off}")
    return ", ".join(words)


def plan_of_windows(
    parts: Any, length: int, layout: Callable[..., Batch], loss: Callable, *,
    learn: Callable[..., Batch] | None = None, sample: Callable[..., str] | None = None,
    characters: np.ndarray | None = None, **more: Any,
) -> Plan:
    """Return a plan that trains on windows of the first part of a corpus and validates on the rest.

    parts: the `Parts` of the recipe, with data and model. Raises UserError if the text is too short.
    length: the number of tokens in a window.
    layout(x, y, *key): makes a batch from tokens x (B, length) and the token after each, y; `key` selects the
        random numbers.
    learn(batch, *key): changes a training batch; validation batches stay as they are.
    sample(model, tokens): returns a text to show, from the first window that is held out.
    characters: see `evaluate`. more: other fields of the plan.
    """
    corpus, train, seed = parts.corpus, parts.config.train, parts.config.seed
    learnt, held_out = (token_array(text, parts.tokenizer) for text in corpus.split(train.val_fraction))
    for name, tokens in (("training", learnt), ("validation", held_out)):
        if len(tokens) < length + 1:
            needs = f"a context of {parts.model.config.context} needs at least {length + 1}"
            raise UserError(f"the {name} part of {corpus.name} has {len(tokens)} tokens, and {needs}: "
                            "take more text, or a smaller --set model.context")

    def batches(step):
        batch = layout(*get_batch(learnt, seed, step, train.batch, length, train.even), seed, step)
        return learn(batch, seed, step) if learn else batch

    def measure(model):
        # All windows are laid out together, and then cut: what is hidden depends on no setting of memory.
        windows = eval_windows(held_out, length, train.eval_windows)
        whole, size = layout(*windows, "validation"), train.batch // train.accumulate
        same = (whole.rows(slice(i, i + size)) for i in range(0, len(whole.tokens), size))
        return evaluate(model, same, loss, characters)

    plan = Plan(batches, loss, measure, len(learnt), len(held_out), [int(learnt[0])], **more)
    with suppress(UserError):  # if a newline is not in the vocabulary
        plan.prompt = parts.tokenizer.encode("\n\n") or plan.prompt  # where stories and speeches begin
    if sample:
        plan.sample = partial(sample, tokens=np.asarray(held_out[:length]).tolist())
    return plan
