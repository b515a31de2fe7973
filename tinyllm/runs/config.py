"""Define `RunConfig`, the settings of a run: its data, tokenizer, model and training.

Every setting has one flat name, such as `train.lr` or `model.heads`. Values come from the preset, the
`--config` file, the flags and `--set`; later ones replace earlier ones.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from tinyllm.config import check, convert, describe, flatten, part, setting
from tinyllm.errors import UserError
from tinyllm.models import family, family_of, names
from tinyllm.models.sizes import SIZE
from tinyllm.runs.private import PrivateConfig
from tinyllm.runs.recipe import Recipe, find_recipe
from tinyllm.train.config import TrainConfig

PRETRAINING = {"causal": "pretrain", "masked": "denoise", "spans": "spans"}  # objective of a model -> recipe
# The settings of presets; the sizes of models are in each family's PRESETS. laptop reached the lowest loss in
# two minutes on two cores. pairs is for facts learnt from questions with answers: with large batches, few
# layers and strong decay, a fact learnt in one form serves others, too (docs/measured.md). nano and mini are
# nanoGPT's settings for Shakespeare's characters; small is GPT-2 124M with a batch that fits a laptop.
LAPTOP, USUAL = "laptop", "llama"  # the default preset, and its family
PRESETS: dict[str, dict[str, Any]] = {
    LAPTOP: {
        "model.type": USUAL, "tokenizer": "bpe:1024", "train.batch": 4, "train.steps": 1800,
        "train.even": True, "train.optimizer": "muon", "train.lr": 3e-3, "train.min_lr_ratio": 0.0,
        "train.beta2": 0.98, "train.weight_decay": 0.3, "train.eval_every": 200,
    },
    "nano": {"train.batch": 12},
    "mini": {"train.batch": 16, "train.steps": 5000},
    "small": {"train.batch": 8, "train.lr": 6e-4, "train.beta2": 0.95, "train.steps": 20000},
}
PRESETS["pairs"] = PRESETS[LAPTOP] | {"tokenizer": "word", "train.batch": 128, "train.steps": 4000,
                                      "train.weight_decay": 1.0, "train.eval_every": 500, "sft.packed": True}


@dataclass(frozen=True)
class LoRAConfig:
    """The settings of LoRA: with a rank, training changes adapters, not the weights of the start."""

    rank: int = setting(0, help="train an adapter of this rank; 0: all weights", min=0, max=65536)
    alpha: float = setting(16.0, help="the adapter's part is multiplied by alpha / rank", above=0)
    where: str | None = setting(None, help="ends of the names of layers: q_proj,v_proj; none: all linear")


@dataclass(frozen=True)
class ParallelConfig:
    """The settings of several processes that train one model, as `mpiexec -n 4 tinyllm train` starts them."""

    data: int | None = setting(None, help="copies of the model; none: what the processes allow", min=1)
    tensor: int = setting(1, help="how many processes divide each layer", min=1)
    pipeline: int = setting(1, help="how many stages, of some blocks each, pass activations on", min=1)
    schedule: str = setting("1f1b", help="order of the stages' work: 1f1b, or gpipe, which keeps more",
                            choices=("1f1b", "gpipe"))
    zero: bool = setting(False, help="divide the optimizer's state over the copies (ZeRO-1)")


PARTS: dict[str, Any] = {"train": TrainConfig, "lora": LoRAConfig, "parallel": ParallelConfig,
                         "private": PrivateConfig}


# Settings that --resume may change. Only the steps affect the weights: the data's SHA-256 must be the same.
MAY_CHANGE = {"data", "train.checkpoint_every", "train.steps", *describe(ParallelConfig, "parallel.")}


@dataclass(frozen=True)
class RunConfig:
    """All settings that decide the weights of a run: data, tokenizer, model, training and seed.

    `model` is a family's config; its vocab_size is only a placeholder, because the tokenizer decides it.
    `options` is the recipe's own dataclass, if it has one.
    """

    recipe: str = setting("pretrain", help="what is trained for; encoders: denoise, encoder-decoders: spans")
    data: str = setting("stories", help="a text: file, glob, folder, .gz, - or a corpus's name")
    tokenizer: str = setting("char", help="char, word, byte, world, bpe:SIZE or a tokenizer's file")
    preset: str = setting(LAPTOP, help="sizes and rates: laptop, pairs, or of GPTs: nano, mini, small")
    start: str | None = setting(None, help="a run or a Hugging Face folder, to begin with its weights")
    seed: int = setting(0, help="decides everything random", min=0)
    model: Any = None
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    lora: LoRAConfig = dataclasses.field(default_factory=LoRAConfig)
    parallel: ParallelConfig = dataclasses.field(default_factory=ParallelConfig)
    private: PrivateConfig = dataclasses.field(default_factory=PrivateConfig)
    options: object | None = None

    def __post_init__(self):
        check(self)
        if self.lora.rank and not self.start:
            raise UserError("lora.rank trains an adapter of a model that has learnt: give start=RUN, too")

    def nested(self) -> dict[str, Any]:
        """Return all settings in the form of run.json: {"data": ..., "model": {"heads": ...}, ...}."""
        settings = dataclasses.asdict(self)
        options = settings.pop("options")
        settings["model"] = {"type": family_of(self.model).model_type} | settings["model"]
        del settings["model"]["vocab_size"]
        return settings | ({self.recipe: options} if options else {})

    def flat(self) -> dict[str, Any]:
        """Return all settings in a flat dict: {"data": ..., "model.heads": ..., "train.lr": ...}."""
        return flatten(self.nested())


def settings_help(recipe: str = "", kind: str = "") -> dict[str, tuple[Any, str, str]]:
    """Return {flat name: (type, default, help)} of all settings for a recipe and a family of models."""
    chosen = find_recipe(recipe or usual_recipe(kind))
    found = {"model.type": (str, "", "the family: gpt, " + ", ".join(names()))}
    found |= describe(RunConfig) | describe(family(kind or USUAL).config_class, "model.")
    for name, cls in (PARTS | {chosen.name: chosen.options}).items():
        found |= describe(cls, f"{name}.") if cls else {}
    for name in ("model", *PARTS, "options", "model.vocab_size"):
        del found[name]
    usual = preset_settings(LAPTOP, chosen, kind)
    return {name: (of, usual.get(name, default), text) for name, (of, default, text) in found.items()}


def usual_preset(kind: str | None, recipe: Recipe | None = None) -> str:
    """Return the default preset of a family: laptop, or nano if it has no laptop, or that of a `recipe`."""
    if recipe and recipe.preset and family(kind or USUAL) is family(USUAL):
        return recipe.preset
    return LAPTOP if LAPTOP in family(kind or USUAL).PRESETS else "nano"


def usual_recipe(kind: str | None = None) -> str:
    """Return the default recipe of a family of models: the one that pretrains it."""
    return PRETRAINING[family(kind or USUAL).objective]


def preset_settings(preset: str, recipe: Recipe, kind: str | None = None) -> dict[str, Any]:
    """Return the settings of a preset for a recipe and a family of models; {} if there is no such preset."""
    found = PRESETS.get(preset, {})
    return found | find_recipe(usual_recipe(kind)).defaults | recipe.defaults if preset == LAPTOP else found


def make_config(settings: dict[str, Any]) -> RunConfig:
    """Build a RunConfig from settings {"train.lr": 0.001, ...}, and else the preset's, or raise UserError."""
    kind = settings.get("model.type")
    recipe = find_recipe(settings.get("recipe", usual_recipe(kind)))
    preset = settings.get("preset") or usual_preset(kind, None if settings.get("start") else recipe)
    values: dict[str, Any] = {"model.type": names()[0], "preset": preset}
    values |= preset_settings(preset, recipe, kind)
    cls: Any = family(kind or values["model.type"])
    if preset not in cls.PRESETS:
        of, others = (f"of {kind}", cls.PRESETS) if kind else ("if no model is named", PRESETS)
        raise UserError(f"there is no preset {preset!r} {of}; there are {', '.join(others)}")
    known = {name: of for name, (of, _, _) in settings_help(recipe.name, cls.model_type).items()}
    values |= {name: convert(name, value, known) for name, value in settings.items()
               if value != {} or not part(known, f"{name}.")}  # without empty tables
    sizes = {"vocab_size": SIZE["max"]} | cls.PRESETS[preset] | part(values, "model.")
    del sizes["type"]
    made = {name: kind and kind(**part(values, f"{name}."))
            for name, kind in (PARTS | {recipe.name: recipe.options}).items()}
    for name, config in made.items():
        if config:
            check(config, f"{name}.")
    top = {name: value for name, value in values.items() if "." not in name} | {"recipe": recipe.name}
    return RunConfig(**top, model=cls.config_class(**sizes), options=made.pop(recipe.name), **made)


def resumed(old: RunConfig, settings: dict[str, Any]) -> RunConfig:
    """Return the settings of a resumed run, changed by `settings`: {"train.steps": 1000, ...}.

    Raises UserError when a change would alter the result; training longer is allowed. The message lists the
    changes as "name: old -> new".
    """
    before, after = old.flat(), dict(settings)
    if "model.type" in settings:
        after["model.type"] = family(settings["model.type"]).model_type
    changed = [name for name in ("recipe", "model.type") if after.get(name, before[name]) != before[name]]
    if not changed:  # else settings of another recipe or family may be unknown here
        new = make_config(before | settings)
        after = new.flat()
        planned = before["private.epsilon"] and not before["private.noise"]  # clients' noise, for all steps
        free = MAY_CHANGE - ({"train.steps"} if planned else set())
        changed = [name for name in after if after[name] != before[name] and name not in free]
    if changed:
        conflicts = "; ".join(f"{name}: {before[name]} -> {after[name]}" for name in changed)
        raise UserError(f"the run was trained with other settings ({conflicts}): leave them out, "
                        "or start a new run")
    return new
