"""From flags and TOML files to a `RunConfig`.

Every setting has one flat name, such as `train.lr` or `model.heads`. Settings come in layers, and a later
layer wins: the preset, the `--config` file, the flags, `--set`.
"""

import dataclasses
import difflib
import tomllib
import types
import typing

from tinyllm.errors import UserError
from tinyllm.models.gpt import PRESETS, GPTConfig
from tinyllm.train.config import TRAIN_PRESETS, RunConfig, TrainConfig, flatten

MAY_CHANGE = {  # on --resume: these change when something happens, or where the data is read, but no weight
    "data",  # the run remembers its SHA-256
    "threads",
    "train.steps",
    "train.checkpoint_every",
}


def known_settings():
    """Return {flat name: type} of every setting there is."""
    known = {name: kind for name, kind in _fields(RunConfig).items() if name not in ("model", "train")}
    known |= {f"model.{name}": kind for name, kind in _fields(GPTConfig).items() if name != "vocab_size"}
    known |= {f"train.{name}": kind for name, kind in _fields(TrainConfig).items()}
    return known


def _fields(config_class):
    hints = typing.get_type_hints(config_class)
    return {field.name: hints[field.name] for field in dataclasses.fields(config_class)}


def make_config(settings):
    """Build the `RunConfig` of flat settings over their preset.

    Raises UserError on an unknown name or a bad value.
    """
    known = known_settings()
    values = {name: _convert(name, value, known) for name, value in settings.items()}
    preset = values.get("preset", RunConfig.preset)
    if preset not in PRESETS:
        raise UserError(f"there is no preset {preset!r}; the presets are {', '.join(PRESETS)}")
    model = _preset_model(preset) | _part(values, "model.")
    GPTConfig(vocab_size=256, **model)  # only to raise before any work is done: the tokenizer decides later
    return RunConfig(
        **{name: value for name, value in values.items() if "." not in name},
        model=model,
        train=TrainConfig(**(TRAIN_PRESETS[preset] | _part(values, "train."))),
    )


def _preset_model(preset):
    """Return every field of a preset's model, so that config.json stays true if a default changes one day."""
    model = dataclasses.asdict(GPTConfig(**({"vocab_size": 256} | PRESETS[preset])))
    del model["vocab_size"]
    return model


def _part(values, prefix):
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def read_toml(path):
    """Read settings from a TOML file with the tables [model] and [train]. Raises UserError."""
    try:
        with open(path, "rb") as f:
            nested = tomllib.load(f)
    except OSError as error:
        raise UserError(f"cannot read the settings in {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error
    return flatten(nested)


def parse_assignments(assignments):
    """Read `["model.heads=4", ...]` as settings. Raises UserError on anything without a `=`."""
    settings = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise UserError(f"--set {assignment}: write it as NAME=VALUE, for example --set model.heads=4")
        settings[name.strip()] = value.strip() if name.strip() != "train.sample_prompt" else value
    return settings


def resume_conflicts(old, new):
    """List the settings that differ between two RunConfigs and would change the result.

    Each is written as "name: old -> new".
    """
    before, after = old.flat(), new.flat()
    return [
        f"{name}: {before.get(name)} -> {after[name]}"
        for name in after
        if after[name] != before.get(name) and name not in MAY_CHANGE
    ]


def _convert(name, value, known):
    """Turn the text of a flag, or a TOML value, into the setting's type."""
    if name not in known:
        hint = f"did you mean {near}? " if (near := _nearest(name, known)) else ""
        raise UserError(f"unknown setting {name!r}; {hint}`tinyllm train --help` lists them all")
    kinds = typing.get_args(known[name]) or (known[name],)
    optional = isinstance(known[name], types.UnionType) and type(None) in kinds
    if optional and (value is None or value == "none"):
        return None
    kind = kinds[0]
    try:
        if isinstance(value, str):
            return _from_text(value, kind)
        if type(value) is kind or (kind is float and type(value) is int):
            return kind(value)
    except (ValueError, KeyError):
        pass
    raise UserError(f"{name} must be {_KIND_NAMES[kind]}, got {value!r}")


def _nearest(name, known):
    """The setting whose last part is nearly that of a name, in the same table if there is one; or None."""
    section, _, last = name.rpartition(".")
    parts = [(setting, *setting.rpartition(".")[::2]) for setting in known]
    near = difflib.get_close_matches(last, [part for _, _, part in parts], 1)
    found = {table: setting for setting, table, part in parts if part in near}
    return found.get(section, next(iter(found.values()), None))


def _from_text(text, kind):
    return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)


_KIND_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
