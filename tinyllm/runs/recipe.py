"""Register the recipes of `tinyllm train NAME`. A recipe is a function in a file of `recipes/`.

    @recipe("pretrain", "predict the next token of a text")
    def pretrain(parts):
        return Plan(batches, loss, evaluate, ...)

The function gets `Parts`, data and model among them, and returns a `Plan`.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, NamedTuple

from tinyllm.errors import UserError, did_you_mean
from tinyllm.models import build
from tinyllm.runs.start import Start


class Frame(NamedTuple):
    """The text between a prompt and its answer, and the text that ends an answer."""

    separator: str = ""
    end: str = ""


NO_FRAME = Frame()


@dataclass
class Parts:
    """The data and the model from which a recipe makes its plan.

    start: the weights that the run began with; None if these were drawn from the seed.
    frame: what stands around an answer: set by the recipe, or else inherited from the run of `start`.
    """

    config: Any  # a `RunConfig`
    corpus: Any
    tokenizer: Any
    model: Any
    _: KW_ONLY
    start: Start | None = None
    frame: Frame = NO_FRAME

    def reference(self) -> Any:
        """Return another copy of the model with the weights that the run began with, in evaluation mode.

        In a resumed run, too, these are not the trained weights. Without a start they are drawn from the seed
        again. Raises UserError when the weights of the start are gone or have changed.
        """
        if self.start:
            return self.start.open()[0]
        return build(self.model.config, seed=self.config.seed).eval()


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
    """A named way to train, with its settings. `build(parts)` returns a Plan.

    options: the dataclass of the recipe's settings, which are called NAME.FIELD.
    text(config, corpus): returns the bytes from which a new tokenizer learns, by default the corpus.
    frame(options): returns what stands around an answer; None: a run keeps the frame of its start.
    objectives: the objectives of the models that the recipe can train.
    adapt(model, corpus): returns the model with the output layer that the recipe needs.
    prepare_tokenizer(tokenizer, options, objective): adds special tokens to a new tokenizer.
    """

    name: str
    help: str
    build: Callable[..., Plan]
    options: type | None = None
    text: Callable[..., bytes] | None = None
    frame: Callable[[Any], Frame] | None = None
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
