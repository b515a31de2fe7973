"""Pretrain an encoder to write whole texts, by hiding any share of a text (masked diffusion)."""

from tinyllm.data.corruption import diffused
from tinyllm.decode.fill import write
from tinyllm.runs.plan import Plan, plan_of_windows
from tinyllm.runs.recipe import Parts, recipe
from tinyllm.runs.recipes.denoise import framed, special_ids
from tinyllm.train import objectives


@recipe("diffusion", "hide any share of a text, to write whole texts", objectives=("masked",))
def diffusion(parts: Parts) -> Plan:
    """Return a plan that hides from one to all tokens of random windows between [CLS] and [SEP]."""
    begin, end, mask = special_ids(parts)

    def layout(x, y, *key):
        return framed(diffused(x, mask, *key), begin, end)

    def sample(model, tokens):
        return write(model, parts.tokenizer, parts.tokenizer.decode(tokens[:9]), len(tokens))[0]

    length = parts.model.config.context - 2
    plan = plan_of_windows(parts, length, layout, objectives.diffusion, sample=sample)
    plan.healthy = {"val_accuracy": (0.0, 1.0, "")}
    return plan
