"""Check settings: what is refused, what wins, and what a resumed run may change."""

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.config import check, flatten, kinds, parse_assignments
from tinyllm.errors import UserError
from tinyllm.files import read_toml
from tinyllm.models import names
from tinyllm.runs.config import known_settings, make_config, resumed, settings_help
from tinyllm.runs.recipe import recipes
from tinyllm.train.config import LoRAConfig, TrainConfig
from tinyllm.train.loop import Progress

BAD = [
    ("train.lr", "inf", "a number, above 0"),
    ("train.val_fraction", "1", "above 0 and below 1"),
    ("train.accumulate", "5", "multiple"),
    ("train.steps", "many", "whole number"),
    ("model.tied", "perhaps", "true or false"),
    ("model.heads", "3", "3 heads cannot share"),
    ("model.type", "elephant", "there is no model 'elephant'"),
    ("recipe", "pretrian", "did you mean pretrain"),
    ("recipe", ["sft"], "no recipe ['sft']"),
    ("sft.end", "x", "unknown setting"),
    ("preset", "huge", "nano, mini, small"),
    ("train.step", "3", "did you mean train.steps"),
    ("model.vocab_size", "3", "unknown setting"),
    ("model.rope", "true", "'model.rope'; `tinyllm train --settings` lists them all"),
    ("eps", "3", "did you mean model.eps"),
    ("zzz", "3", "`tinyllm train --settings` lists them all"),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD)
def test_bad_settings_are_one_line(name, value, message):
    with pytest.raises(UserError) as caught:
        make_config({name: value})
    assert message in str(caught.value)
    assert name.split(".")[-1] in str(caught.value) or repr(value) in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.data())
def test_settings_survive_text(data):
    """Writing every setting as text, as flags do, and reading it again changes nothing."""
    drawn = {"train.batch": data.draw(st.integers(1, 50)), "train.lr": data.draw(st.floats(1e-9, 1))}
    config = make_config(drawn)
    texts = {name: "none" if value is None else str(value) for name, value in config.flat().items()}
    assert make_config(texts) == config
    assert set(texts) == set(known_settings())


@pytest.mark.parametrize("recipe", recipes())
@pytest.mark.parametrize("kind", names())
def test_every_recipe_and_family_has_settings_with_help(recipe, kind):
    config = make_config({"recipe": recipe, "model.type": kind})
    assert make_config(config.flat()) == config
    assert set(config.flat()) == set(known_settings(recipe, kind)) == set(settings_help(recipe, kind))
    assert all(text for _, _, text in settings_help(recipe, kind).values())


def test_presets_bring_model_and_batch():
    mini = make_config({"preset": "mini", "train.lr": "3e-4"})
    assert (mini.train.batch, mini.model.width, mini.train.lr) == (16, 384, 3e-4)
    assert make_config({"preset": "mini", "model.width": "6", "train.batch": 2}).model.width == 6


def test_toml_and_assignments(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text('data = "x.txt"\n[model]\nheads = 2\n[train]\nlr = 1\n')
    assert flatten(read_toml(path)) == {"data": "x.txt", "model.heads": 2, "train.lr": 1}
    words = ["model.heads = 4", "train.sample_prompt= a=b "]
    assert parse_assignments(words) == {"model.heads": " 4", "train.sample_prompt": " a=b "}
    for refused in (lambda: parse_assignments(["x"]), lambda: read_toml(tmp_path)):
        with pytest.raises(UserError):
            refused()
    for wrong in ("[train\n", "x = " + "[" * 5000 + "]" * 5000):
        path.write_text(wrong)
        with pytest.raises(UserError, match=r"not valid TOML|nested too deeply"):
            read_toml(path)
    with pytest.raises(UserError, match=r"^model\.scaling must be JSON"):
        make_config({"model.type": "llama", "model.scaling": "[" * 10**5})


def test_what_a_resumed_run_may_change():
    old = make_config({})
    free = {"train.steps": 5000, "train.checkpoint_every": 7, "threads": 1, "data": "elsewhere.txt"}
    assert resumed(old, free) == make_config(old.flat() | free)
    for steps in ("many", "0"):
        with pytest.raises(UserError, match=r"train\.steps"):
            resumed(old, {"train.steps": steps})
    for name, value in [("train.lr", 1.0), ("model.width", 64), ("seed", 1), ("model.type", "gpt2")]:
        with pytest.raises(UserError, match=rf"other settings \({name}: [^;]*\)"):
            resumed(old, {name: value})


def beside(field):
    """Yield values beside those that a setting declares."""
    bounds = field.metadata
    yield from (bounds[name] - 1 for name in ("min", "above") if name in bounds)
    yield from (bounds[name] + 1 for name in ("max", "below") if name in bounds)
    yield from (bounds[name] for name in ("above", "below") if name in bounds)
    yield from [f"{bounds['choices'][0]}x"] if "choices" in bounds else []
    yield [] if str in kinds(field) else "x"


OF_RECIPES = {f"{name}.": recipe.options for name, recipe in recipes().items() if recipe.options}


@pytest.mark.parametrize("prefix, of", {"train.": TrainConfig, "lora.": LoRAConfig, **OF_RECIPES}.items())
def test_values_beside_the_declared_ones_are_refused_by_name(prefix, of):
    for field in dataclasses.fields(of):
        for value in beside(field):
            with pytest.raises(UserError, match=rf"^{re.escape(prefix + field.name)} must be .*, got "):
                check(of(**{field.name: value}), prefix)


def test_a_field_that_is_an_object_is_checked_too():
    """It once ended in a KeyError: there was no word for the type."""
    with pytest.raises(UserError, match="unlogged must be an object, got \\[\\]"):
        Progress(unlogged=[])
