"""Settings: dataclass fields that say what they allow.

A field's metadata is the one place for its bounds and its help text. Validation, flags, files and
documentation derive from there: `field(default=0.0, metadata={"help": "...", "min": 0, "below": 1})`.
"""

import dataclasses
import math
import types
import typing
from typing import Any

from tinyllm.errors import UserError

BOUNDS = {"min": "at least", "above": "above", "max": "at most", "below": "below"}
NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def setting(default: Any = dataclasses.MISSING, **metadata: Any) -> Any:
    """Return a dataclass field with a default, or without one, and metadata such as help, min and below."""
    return dataclasses.field(default=default, metadata=metadata)


def kinds(field: dataclasses.Field) -> tuple[type, ...]:
    """Return the types that a field allows: `int | None` -> (int, NoneType)."""
    return typing.get_args(field.type) if isinstance(field.type, types.UnionType) else (field.type,)


def check(config: Any, prefix: str = "") -> None:
    """Check every field of a dataclass instance by its type and its metadata.

    min and max are allowed themselves, above and below are not; `choices` lists the values allowed. A float
    may be given as an int, and is finite. Raises UserError naming the field, after `prefix`, and its value.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if not allowed(field, value):
            raise UserError(f"{prefix}{field.name} must be {wish(field)}, got {value!r}")


def allowed(field: dataclasses.Field, value: Any) -> bool:
    """Return True if a field can have this value."""
    kind, *rest = kinds(field)
    if value is None:
        return type(None) in rest
    if kind not in NAMES:
        return True
    if kind in (int, float):
        numbers = (int,) if kind is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, numbers) or not math.isfinite(value):
            return False
    elif not isinstance(value, kind):
        return False
    rule = field.metadata
    return not (
        ("min" in rule and value < rule["min"]) or ("above" in rule and value <= rule["above"])
        or ("max" in rule and value > rule["max"]) or ("below" in rule and value >= rule["below"])
        or ("choices" in rule and value not in rule["choices"])
    )  # fmt: skip


def wish(field: dataclasses.Field) -> str:
    """Return what a field allows, in words: `a whole number, at least 1 and at most 8`."""
    if "choices" in field.metadata:
        return f"one of {', '.join(map(str, field.metadata['choices']))}"
    bounds = [f"{word} {field.metadata[key]}" for key, word in BOUNDS.items() if key in field.metadata]
    return ", ".join([NAMES[kinds(field)[0]], *filter(None, [" and ".join(bounds)])])
