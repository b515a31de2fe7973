"""Train a reward model, which scores texts, on pairs of answers of which one was preferred."""

import numpy as np

from tinyllm.align.pairs import read_pairs
from tinyllm.align.questions import with_end
from tinyllm.align.reward import last_scores, preferred
from tinyllm.data import Batch
from tinyllm.nn import inference
from tinyllm.padding import padded
from tinyllm.runs.examples import plan_of, row_size
from tinyllm.runs.plan import Plan
from tinyllm.runs.recipe import Parts, recipe

GUESSES = "a guess is right in 0.5: take more pairs or steps"
BY_HEART = f"{GUESSES}; if accuracy is far higher, the pairs of training were learnt by heart"


@recipe("reward", "score answers, from pairs of a chosen and a rejected one", objectives=("causal", "scores"),
        adapt=lambda model, corpus: model.for_scores(), unit="nats per pair", frame=with_end,
        defaults={"train.optimizer": "adamw", "train.lr": 3e-4})
def reward(parts: Parts) -> Plan:
    """Return a plan that trains a model to score each chosen answer higher than the rejected one."""
    halves, context = read_pairs(parts), parts.model.config.context

    def layout(chosen):
        texts = [[*prompt, *answer][:context] for prompt, *answers in chosen for answer in answers]
        tokens, lengths = padded(texts)
        differ = [a != b for a, b in zip(texts[::2], texts[1::2], strict=True)]  # equal answers teach nothing
        return Batch(tokens.reshape(len(chosen), 2, -1), lengths.reshape(-1, 2), np.array(differ, np.float32))

    def sample(model):
        batch = layout(halves[1][:1])
        with inference(model):
            scores = last_scores(model, batch.tokens[0], batch.targets[0]).data
        prompt, *answers = (parts.tokenizer.decode(ids).strip() for ids in halves[1][0])
        return "\n".join([prompt, *(f"{x:+.2f} {text}" for x, text in zip(scores, answers, strict=True))])

    return plan_of(parts, halves, layout, preferred, size=lambda pair: row_size(pair) + 1, sample=sample,
                   healthy={"accuracy": (0.6, 1.0, GUESSES), "val_accuracy": (0.6, 1.0, BY_HEART)})
