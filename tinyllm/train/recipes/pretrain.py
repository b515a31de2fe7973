"""Pretraining: predict the next token of a text, on random windows."""

from typing import Any

from tinyllm.data import Batch, eval_batches, get_batch, token_array
from tinyllm.errors import UserError
from tinyllm.train.evaluate import count_characters, evaluate
from tinyllm.train.objectives import next_token
from tinyllm.train.recipe import Plan, recipe


@recipe("pretrain", "predict the next token of a text")
def pretrain(config: Any, corpus: Any, tokenizer: Any, model: Any) -> Plan:
    """Return a plan that trains on windows of the first part of a corpus and validates on the rest."""
    train, context = config.train, model.config.context
    parts = []
    for name, text in zip(("training", "validation"), corpus.split(train.val_fraction), strict=True):
        parts.append(tokens := token_array(text, tokenizer))
        if len(tokens) < context + 1:
            raise UserError(
                f"the {name} part of {corpus.name} has {len(tokens)} tokens, and a context of {context} "
                f"needs at least {context + 1}: take more text, or a smaller --set model.context"
            )
    learnt, held_out = parts
    characters = count_characters(tokenizer)

    def batches(step):
        return Batch(*get_batch(learnt, config.seed, step, train.batch, context))

    def measure(model):
        windows = eval_batches(held_out, context, train.batch // train.accumulate, train.eval_windows)
        return evaluate(model, (Batch(*window) for window in windows), next_token, characters)

    try:
        blank = tokenizer.encode("\n\n")  # where stories and speeches begin
    except UserError:
        blank = []
    return Plan(batches, next_token, measure, len(learnt), len(held_out), blank or [int(learnt[0])])
