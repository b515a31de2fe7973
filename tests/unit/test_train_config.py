"""Check settings: what is refused, what wins, and what a resumed run may change."""

import dataclasses
import re

import pytest
from helpers import refuses
from hypothesis import given, strategies as st

from tinyllm.config import check, flatten, kinds, parse_assignments
from tinyllm.errors import UserError
from tinyllm.files import read_toml
from tinyllm.models import names
from tinyllm.runs.config import LoRAConfig, make_config, resumed, settings_help
from tinyllm.runs.private import PrivateConfig
from tinyllm.runs.recipe import recipes
from tinyllm.train.config import TrainConfig
from tinyllm.train.loop import Progress


@pytest.mark.parametrize(("name", "value", "message"), [
    ("train.accumulate", "3", "train.batch 4 .* multiple"), ("train.steps", "many", "a whole number"),
    ("model.tied", "perhaps", "model.tied must be true"), ("model.heads", "3", "3 heads cannot share"),
    ("model.type", "elephant", "there is no model 'elephant'"), ("model.type", ["gpt"], "there is no model"),
    ("recipe", "pretrian", "did you mean pretrain"), ("recipe", ["sft"], r"no recipe \['sft'\]"),
    ("sft.end", "x", "unknown setting 'sft.end'"), ("preset", "huge", "'huge' if.*; there are laptop"),
    ("train.step", "3", "did you mean train.steps"), ("model.vocab_size", "3", "unknown setting"),
    ("eps", "3", "did you mean model.eps"), ("zzz", "3", "'zzz'; `tinyllm train --settings` lists them all"),
    ("model.scaling", "[" * 10**5, "model.scaling must be JSON"), ("seed.x", 1, "unknown setting 'seed.x'"),
    ("lora.rank", "-1", "lora.rank must be"), ("pretrain.middle", "2", "pretrain.middle must be"),
    *((name, {}, "no recipe {}" if name == "recipe" else f"{name} must be .*, got {{}}") for name in
      ("recipe", "preset", "data", "tokenizer", "start", "seed", "train.lr", "model.type", "model.heads")),
])
def test_bad_settings_are_refused_by_name(name, value, message):
    refuses(message, make_config, flatten({name: value}))
    assert make_config(flatten({"model": {}, "train": {}})) == make_config({})


@given(st.integers(1, 50), st.floats(1e-9, 1))
def test_settings_survive_text(batch, rate):
    """Writing every setting as text, as flags do, and reading it again changes nothing."""
    config = make_config({"train.batch": batch, "train.lr": rate})
    texts = {name: "none" if value is None else str(value) for name, value in config.flat().items()}
    assert make_config(texts) == config


@pytest.mark.parametrize("recipe", recipes())
@pytest.mark.parametrize("kind", names())
def test_every_recipe_and_family_has_settings_with_help(recipe, kind):
    config, known = make_config({"recipe": recipe, "model.type": kind}), settings_help(recipe, kind)
    assert make_config(config.flat()) == config and set(config.flat()) == set(known)
    assert all(text for _, _, text in known.values())


def test_presets_bring_model_and_batch_and_settings_come_from_files_and_assignments(tmp_path):
    mini = make_config({"preset": "mini", "train.lr": "3e-4"})
    assert (mini.train.batch, mini.model.width, mini.train.lr) == (16, 384, 3e-4)
    assert make_config({"preset": "mini", "model.width": "6", "train.batch": 2}).model.width == 6
    path = tmp_path / "settings.toml"
    path.write_text('data = "x.txt"\n[model]\nheads = 2\n[train]\nlr = 1\n')
    assert flatten(read_toml(path)) == {"data": "x.txt", "model.heads": 2, "train.lr": 1}
    assert parse_assignments(["model.heads =4", "data= a=b "]) == {"model.heads": "4", "data": " a=b "}


def test_answers_are_learnt_from_nothing_by_a_preset_of_their_own():
    pairs = {"recipe": "sft", "data": "world:instruction"}
    config = make_config(pairs)
    assert (config.preset, config.tokenizer, config.options.packed) == ("pairs", "word", True)
    assert (config.train.batch, config.train.weight_decay, config.model.layers) == (128, 1.0, 2)
    assert make_config(pairs | {"model.type": "llama"}) == config
    for more in {"start": "run"}, {"model.type": "mistral"}, {"model.type": "t5"}, {"recipe": "dpo"}:
        assert make_config(pairs | more).preset == "laptop"
    assert make_config({"recipe": "pretrain", "preset": "pairs"}).train == config.train


def test_what_a_resumed_run_may_change():
    old = make_config({})
    free = {"train.steps": 5000, "train.checkpoint_every": 7, "data": "elsewhere.txt"}
    assert resumed(old, free) == make_config(old.flat() | free)
    gpt = make_config({"model.type": "gpt", "preset": "nano"})
    assert resumed(gpt, {"model.type": "gpt"}) == gpt  # a short name for gpt2
    refuses(r"train\.steps", resumed, old, {"train.steps": "0"})
    for name, value in {"train.lr": 1.0, "model.width": 64, "seed": 1, "model.type": "gpt2",
                        "recipe": "sft"}.items():
        refuses(rf"other settings \({name}: [^;]*\)", resumed, old, {name: value})


def beside(field):
    """Yield values just outside of those that a setting allows."""
    bounds = field.metadata
    yield from (bounds[name] - 1 for name in ("min", "above") if name in bounds)
    yield from (bounds[name] + 1 for name in ("max", "below") if name in bounds)
    yield from (bounds[name] for name in ("above", "below") if name in bounds)
    yield from [f"{bounds['choices'][0]}x"] if "choices" in bounds else []
    yield next(wrong for wrong in ("x", [], {}) if type(wrong) not in kinds(field))


PARTS = {"train.": TrainConfig, "lora.": LoRAConfig, "private.": PrivateConfig}
PARTS |= {f"{name}.": recipe.options for name, recipe in recipes().items() if recipe.options}


@pytest.mark.parametrize("prefix, of", PARTS.items())
def test_values_beside_the_declared_ones_are_refused_by_name(prefix, of):
    for field in dataclasses.fields(of):
        for value in [*beside(field), *([float("inf"), True] if float in kinds(field) else [])]:
            with pytest.raises(UserError, match=rf"^{re.escape(prefix + field.name)} must be .*, got "):
                check(of(**{field.name: value}), prefix)
    refuses(r"unlogged must be an object, got \[\]", Progress, unlogged=[])  # a KeyError once
