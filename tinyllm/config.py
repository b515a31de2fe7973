"""Describe settings as dataclass fields; the metadata of a field holds its bounds and its help text.

Validation, flags, files and documentation are derived from these fields, such as
`field(default=0.0, metadata={"help": "...", "min": 0, "below": 1})`.
"""

import dataclasses
import json
import operator
import types
import typing
from typing import Any

import numpy as np

from tinyllm.errors import UserError, did_you_mean

BOUNDS = {  # {metadata: (its words in messages, the test of a value)}
    "min": ("at least", operator.ge), "above": ("above", operator.gt),
    "max": ("at most", operator.le), "below": ("below", operator.lt),
}
NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
LARGEST_NUMBER = 1e300  # settings and numbers in files are smaller, so that sums and means stay finite
WORDS = NAMES | {str: "a text", dict: "an object", list: "a list", type(None): "null"}


def setting(default: Any = dataclasses.MISSING, **metadata: Any) -> Any:
    """Make a dataclass field with metadata such as help, min and below, and optionally a default."""
    return dataclasses.field(default=default, metadata=metadata)


def bounded(kind: Any, **metadata: Any) -> dataclasses.Field:
    """Declare a type with limits: `bounded(float | None, min=0)` allows None and floats of at least 0.

    `conform` checks values against these declarations. The metadata is the same as in `setting`.
    """
    field = setting(**metadata)
    field.type = kind
    return field


def kinds(field: dataclasses.Field) -> tuple[Any, ...]:
    """Return the types that a field allows: `int | None` -> (int, NoneType)."""
    return typing.get_args(field.type) if isinstance(field.type, types.UnionType) else (field.type,)


def fill_in(config: Any, **values: Any) -> None:
    """Set those fields of a frozen dataclass that are None to these values; for `__post_init__`."""
    for name, value in values.items():
        if getattr(config, name) is None:
            object.__setattr__(config, name, value)


def check(config: Any, prefix: str = "") -> None:
    """Check every field of a dataclass instance against its type and its metadata.

    `min` and `max` are inclusive bounds, `above` and `below` exclusive ones; `choices` lists the allowed
    values. A float field also takes an int; numbers must be finite, and below LARGEST_NUMBER. A number of
    NumPy's becomes one of Python's. Raises UserError with `prefix`, the field and the value.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, np.generic):
            value = value.item()
            object.__setattr__(config, field.name, value)
        if not allowed(field, value):
            raise UserError(f"{prefix}{field.name} must be {wish(field)}, got {value!r}")


def allowed(field: dataclasses.Field, value: Any) -> bool:
    """Return True if the type and the metadata of a field allow this value."""
    found = [kind for kind in kinds(field) if _is(value, kind)]
    if not found or value is None:
        return bool(found)
    bounds = [fits(value, field.metadata[key]) for key, (_, fits) in BOUNDS.items() if key in field.metadata]
    return all(bounds) and value in field.metadata.get("choices", [value])


def _is(value, kind):
    if kind not in (int, float):
        return kind is Any or isinstance(value, typing.get_origin(kind) or kind)
    number = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    return number and abs(value) < LARGEST_NUMBER  # False for NaN


def wish(field: dataclasses.Field, null: bool = False) -> str:
    """Describe the values that a field allows, such as "a whole number, at least 1"; `null` adds None."""
    if "choices" in field.metadata:
        return f"one of {', '.join(map(str, field.metadata['choices']))}"
    bounds = [f"{word} {field.metadata[key]}" for key, (word, _) in BOUNDS.items() if key in field.metadata]
    found = [typing.get_origin(kind) or kind for kind in kinds(field) if null or kind is not type(None)]
    words = " or ".join(WORDS.get(kind, kind.__name__) for kind in found)
    return ", ".join([words, *filter(None, [" and ".join(bounds)])])


def conform(value: Any, kind: Any, at: str = "") -> None:
    """Check that a value read from JSON has the declared type.

    A declaration is a type such as int or `str | None`, a type with limits from `bounded`, [kind] for a list,
    {str: kind} for an object with any keys, or {"name": kind, ...} for an object with at least these. Raises
    UserError; the message names the path `at`, and begins with a verb: callers put the file's name first.
    """
    if isinstance(kind, list) and isinstance(value, list):
        for i, item in enumerate(value):
            conform(item, kind[0], f"{at}[{i}]")
    elif isinstance(kind, dict) and isinstance(value, dict):
        for name in value if str in kind else kind:
            if name not in value:
                raise UserError(f"lacks {f'{at}.{name}'.removeprefix('.')}")
            conform(value[name], kind.get(name, kind.get(str)), f"{at}.{name}")
    else:
        field = kind if isinstance(kind, dataclasses.Field) else bounded(
            type(kind) if isinstance(kind, list | dict) else kind)
        if not allowed(field, value):
            fits = type(value) in kinds(field) or (type(value) is int and float in kinds(field))
            found = repr(value) if fits else WORDS[type(value)]
            place = f" as {at.removeprefix('.')}" if at else ""
            raise UserError(f"holds {found}{place}, where {wish(field, True)} belongs")


def describe(config_class: type, prefix: str = "") -> dict[str, tuple[Any, str, str]]:
    """Return {prefix + name: (type, default as text, help)} for all fields of a dataclass."""
    found = {}
    for field in dataclasses.fields(config_class):
        default = json.dumps(field.default).strip('"') if type(field.default) in NAMES else ""
        found[prefix + field.name] = field.type, default, field.metadata.get("help", "")
    return found


def flatten(nested: dict[str, Any]) -> dict[str, Any]:
    """Flatten nested dicts, with dots in the names: {"train": {"lr": 1}} becomes {"train.lr": 1}."""
    flat = {}
    for key, value in nested.items():
        if value and isinstance(value, dict):  # an empty one may stand in the place of a value
            flat.update({f"{key}.{name}": inner for name, inner in value.items()})
        else:
            flat[key] = value
    return flat


def part(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return the settings whose names begin with a prefix, without the prefix: `part(values, "train.")`."""
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def parse_assignments(assignments: list[str]) -> dict[str, str]:
    """Parse `["model.heads=4", ...]` -> {name: text}. Raises UserError on an item without `=`."""
    settings = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise UserError(f"--set {assignment}: write it as NAME=VALUE, for example --set model.heads=4")
        settings[name.strip()] = value
    return settings


def convert(name: str, value: Any, known: dict[str, Any]) -> Any:
    """Convert the text of a flag, or a value from TOML or JSON, to the type of the setting `name`.

    `known` maps flat names of settings to types. Raises UserError for an unknown name or a wrong type.
    """
    if name not in known:
        near = next((f"; did you mean {each}?" for each in known if each.endswith(f".{name}")), "")
        hint = near or did_you_mean(name, known) or "; `tinyllm train --settings` lists them all"
        raise UserError(f"unknown setting {name!r}{hint}")
    kind, *others = kinds(bounded(known[name]))
    if type(None) in others and value in (None, "none"):
        return None
    try:
        if isinstance(value, str):
            value = _from_text(value, kind)
        if _is(value, kind):
            return kind(value) if kind in NAMES else value
    except (ValueError, KeyError, RecursionError):
        pass
    raise UserError(f"{name} must be {NAMES.get(kind, 'JSON')}, got {value!r}")


def _from_text(text, kind):
    if kind is bool:
        return {"true": True, "false": False}[text.strip().lower()]
    return kind(text) if kind in NAMES else json.loads(text)
