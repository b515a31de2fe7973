"""Pretrain an encoder-decoder as T5: read a text with gaps, and write the missing spans."""

import numpy as np

from tinyllm.data.corruption import span_corruption
from tinyllm.decode.generate import generate
from tinyllm.decode.sampling import Sampling
from tinyllm.errors import UserError
from tinyllm.runs.plan import Plan, plan_of_windows
from tinyllm.runs.recipe import Parts, recipe
from tinyllm.tokenizer.text import SPAN
from tinyllm.train.objectives import next_token

DEFAULTS = {  # a lower learning rate, because T5 does not divide its scores by sqrt(D)
    "train.lr": 2e-3, "train.batch": 32, "train.steps": 1500, "train.optimizer": "adamw",
    "train.min_lr_ratio": 0.1, "train.weight_decay": 0.1,
}


@recipe("spans", "write the spans that are hidden in a text", objectives=("spans",), defaults=DEFAULTS)
def spans(parts: Parts) -> Plan:
    """Return a plan that hides spans of random windows. Raises UserError if the context is too large."""
    tokenizer, context = parts.tokenizer, parts.model.config.context
    ids = tokenizer.special_tokens
    sentinels = [ids[name] for i in range(len(ids)) if (name := f"{SPAN}{i}>") in ids]
    end = parts.model.end_ids

    def layout(x, y, *key):
        return span_corruption(x, sentinels, *key, end=end)

    def sample(model, tokens):
        shown = layout(np.array([tokens]), None, "sample").tokens[0].tolist()
        answer = generate(model, [shown], max_tokens=context, sampling=Sampling(temperature=0))[0]
        return "\n\n".join(tokenizer.decode([i for i in ids if i not in end]) for ids in (shown, answer))

    try:
        layout(np.zeros((1, length := max(2, context - len(end))), int), None, 0)
    except ValueError as error:
        raise UserError(f"{error}: take a smaller model.context") from error
    return plan_of_windows(parts, length, layout, next_token, sample=sample)
