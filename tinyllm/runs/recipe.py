"""Register the recipes of `tinyllm train NAME`. A recipe is a function in a file of `recipes/`.

    @recipe("pretrain", "predict the next token of a text")
    def pretrain(config, corpus, tokenizer, model):
        return Plan(batches, loss, evaluate, ...)

The function gets data and model, and returns a `Plan`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tinyllm.errors import UserError, did_you_mean


@dataclass
class Plan:
    """The result of a recipe: the arguments of `train`, made from data and model.

    train_tokens, val_tokens: the number of tokens for training and for validation.
    prompt: the beginning of samples if the setting `train.sample_prompt` cannot be used.
    healthy: {name: (low, high, advice)}, the normal range of each number that the loss reports, and advice
        for values outside of the range.
    sample: a function of the model that returns a sample as text; None if samples continue the prompt.
    """

    batches: Callable[[int], Any]
    loss: Callable[[Any, Any], Any]
    evaluate: Callable[[Any], dict[str, float]]
    train_tokens: int
    val_tokens: int
    prompt: list[int]
    healthy: dict[str, tuple[float, float, str]] = field(default_factory=dict)
    sample: Callable[[Any], str] | None = None


@dataclass(frozen=True)
class Recipe:
    """A named way to train, with its settings. `build(config, corpus, tokenizer, model)` returns a Plan.

    options: the dataclass of the recipe's settings, which are called NAME.FIELD.
    text(config, corpus): returns the bytes from which a new tokenizer learns, by default the corpus.
    frame(options): returns the text after a prompt and the text after an answer, which `generate` needs.
    objectives: the objectives of the models that the recipe can train.
    adapt(model, corpus): returns the model with the output layer that the recipe needs.
    prepare_tokenizer(tokenizer, options, objective): adds special tokens to a new tokenizer.
    """

    name: str
    help: str
    build: Callable[..., Plan]
    options: type | None = None
    text: Callable[..., bytes] | None = None
    frame: Callable[[Any], tuple[str, str]] = lambda options: ("", "")
    objectives: tuple[str, ...] = ("causal",)
    adapt: Callable[[Any, Any], Any] | None = None
    prepare_tokenizer: Callable[[Any, Any, str], None] | None = None


RECIPES: dict[str, Recipe] = {}


def recipe(name: str, help: str, options: type | None = None, **more: Any) -> Callable[[Callable], Callable]:
    """Return a decorator that registers a function as a recipe; `more` are other fields of `Recipe`."""

    def register(build: Callable[..., Plan]) -> Callable[..., Plan]:
        RECIPES[name] = Recipe(name, help, build, options, **more)
        return build

    return register


def find_recipe(name: str) -> Recipe:
    """Return a recipe by its name. Raises UserError when there is none."""
    if not isinstance(name, str) or name not in RECIPES:
        hint = did_you_mean(str(name), RECIPES) or f"; there are {', '.join(RECIPES)}"
        raise UserError(f"there is no recipe {name!r}{hint}")
    return RECIPES[name]


def hold_out(corpus: Any, rows: list, fraction: float, what: str) -> tuple[list, list]:
    """Split examples into a first part for training and a last part for validation.

    Raises UserError if one part would be empty.
    """
    held = round(len(rows) * fraction)
    if not 0 < held < len(rows):
        raise UserError(f"{corpus.name} has {len(rows)} {what}: give enough to hold out {fraction:g}")
    return rows[:-held], rows[-held:]


def doctor(plan: Plan, record: dict[str, Any]) -> str:
    """Return a line with the numbers that the loss reported, and advice if they are out of range; or ""."""
    words = []
    for name, (low, high, advice) in plan.healthy.items():
        if (value := record.get(name)) is not None:
            off = "" if low <= value <= high else f" (healthy: {low:g} to {high:g}; {advice})"
            words.append(f"{name} {value:.3g}{off}")
    return ", ".join(words)
