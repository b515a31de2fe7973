"""Register the recipes of `tinyllm train NAME`. A recipe is a function in a file of a folder `recipes/`.

It gets `Parts`, data and model among them, and returns a `Plan`; runs/recipes/spans.py is a short one.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tinyllm.errors import unknown
from tinyllm.models import Origin, build
from tinyllm.runs.plan import Plan
from tinyllm.runs.start import open_start


class Frame(NamedTuple):
    """The text between a prompt and its answer, and the text that ends an answer.

    With `chat`, both are turns in the chat template of the tokenizer; people see `separator` between them.
    """

    separator: str = ""
    end: str = ""
    chat: bool = False

    def prompt(self, tokenizer: Any, text: str, before: Sequence[int] = ()) -> list[int]:
        """Encode a prompt, up to where its answer begins; `before` are the ids of earlier turns."""
        if self.chat:
            return tokenizer.chat.user_turn(tokenizer, text, before)
        return tokenizer.encode(text + self.separator)

    def answer(self, tokenizer: Any, text: str, ended: bool = True) -> list[int]:
        """Encode an answer with the mark that ends it, or without it if the answer was cut off."""
        if self.chat and ended:
            return tokenizer.chat.model_turn(tokenizer, text)
        return tokenizer.encode(text + self.end if ended else text)


NO_FRAME = Frame()
CHAT = Frame("\n", chat=True)


@dataclass
class Parts:
    """The data and the model from which a recipe makes its plan."""

    config: Any  # a `RunConfig`
    corpus: Any
    tokenizer: Any
    model: Any
    _: KW_ONLY
    start: Origin | None = None  # the weights that the run began with; None if these were drawn from the seed
    reward: Origin | None = None  # the weights that NAME.reward names, in recipes with such a setting
    teacher: Origin | None = None  # the weights that NAME.teacher names, likewise
    frame: Frame = NO_FRAME  # around an answer: set by the recipe, or else inherited from the run of `start`
    secret: Any = None  # the `Secret` of a private training

    def reference(self) -> Any:
        """Return another copy of the model with the weights that the run began with, in evaluation mode.

        In a resumed run, too, these are not the trained weights. Without a start they are drawn from the seed
        again. Raises UserError when the weights of the start are gone or have changed.
        """
        if self.start:
            return open_start(self.start, self.config.lora.rank > 0)[0]
        return build(self.model.config, seed=self.config.seed).eval()


@dataclass(frozen=True)
class Recipe:
    """A named way to train, with its settings. `build(parts)` returns a Plan."""

    name: str
    help: str
    build: Callable[..., Plan]
    options: type | None = None  # the dataclass of the recipe's settings, which are called NAME.FIELD
    text: Callable[..., bytes] | None = None  # config, corpus -> what a tokenizer learns; None: the corpus
    # Config, inherited -> what stands around answers in a new run. `inherited` is the frame of the start, or
    # CHAT if that has none and the tokenizer has a chat template. None: no chat template is used.
    frame: Callable[[Any, Frame], Frame] | None = None
    objectives: tuple[str, ...] = ("causal",)  # of the models that the recipe can train
    adapt: Callable[[Any, Any], Any] = lambda model, corpus: model  # gives a model another output layer
    prepare_tokenizer: Callable[[Any, Any], None] | None = None  # tokenizer, options: adds special tokens
    unit: str = "nats per token"  # what the loss counts; of these, the perplexity is shown, too
    # The settings that the recipe changes in the preset laptop, {"train.lr": ..., ...}. Those of a family's
    # pretraining recipe apply to its other recipes, too.
    defaults: dict[str, Any] = field(default_factory=dict)
    preset: str = ""  # the default preset of new models of the usual family, in place of laptop


RECIPES: dict[str, Recipe] = {}  # filled as `import_recipes` imports their files


def recipe(name: str, help: str, options: type | None = None, **more: Any) -> Callable[[Callable], Callable]:
    """Return a decorator that registers a function as a recipe; `more` are other fields of `Recipe`."""

    def register(build: Callable[..., Plan]) -> Callable[..., Plan]:
        RECIPES[name] = Recipe(name, help, build, options, **more)
        return build

    return register


@cache
def import_recipes() -> None:
    """Import the files in all folders tinyllm/*/recipes, so that they register their recipes.

    Files are searched for, because packages that import this one have recipes too: it cannot import these.
    """
    package = sys.modules[__name__.partition(".")[0]]
    for file in sorted(found for root in package.__path__ for found in Path(root).glob("*/recipes/[!_]*.py")):
        importlib.import_module(".".join([package.__name__, *file.with_suffix("").parts[-3:]]))


def recipes() -> dict[str, Recipe]:
    """Return all recipes by their names, sorted."""
    import_recipes()
    return dict(sorted(RECIPES.items()))


def find_recipe(name: str) -> Recipe:
    """Return a recipe by its name. Raises UserError when there is none."""
    if not isinstance(name, str) or name not in recipes():
        raise unknown("recipe", name, recipes())
    return RECIPES[name]
