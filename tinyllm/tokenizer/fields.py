"""Checks of a JSON file's fields: everything that is read has been named, and nothing is there unread."""

from tinyllm.errors import UserError

_WORDS = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    float: "a number",
    type(None): "null",
}
DEEPEST = 16  # parts inside parts; real files have two or three


def take(part, where, **kinds):
    """The fields of a part, all checked: a dict with the default where a field is missing.

    kinds: name=type, or name=([types], default) for a field that may be missing. Raises UserError for a field
    that is missing, unknown or of another type.
    """
    if not isinstance(part, dict):
        raise UserError(f"{where} is {_name(part)}, not an object")
    unknown = sorted(part.keys() - kinds.keys() - {"type"})
    if unknown:
        raise UserError(f"{where} has a field {unknown[0][:40]!r}, which is not supported")
    values = {}
    for name, kind in kinds.items():
        default = ()
        if isinstance(kind, tuple):
            kind, default = kind
        if name not in part:
            if default == ():
                raise UserError(f"{where} lacks the field {name!r}")
            values[name] = default
            continue
        values[name] = one_of(part[name], f"{where}.{name}", *(kind if isinstance(kind, list) else [kind]))
    return values


def one_of(value, where, *kinds):
    """The value, if it has one of the types; true is no number here. Raises UserError."""
    if type(value) not in kinds:
        expected = " or ".join(_WORDS[kind] for kind in kinds)
        raise UserError(f"{where} is {_name(value)}, not {expected}")
    return value


def kind_of(part, where):
    """The "type" of a part of the file. Raises UserError."""
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise UserError(f"{where} has no type")
    if where.count("[") > DEEPEST:
        raise UserError(f"{where.split('[')[0]} is nested too deeply")
    return part["type"]


def _name(value):
    return f"the text {value[:20]!r}" if isinstance(value, str) else _WORDS.get(type(value), "no JSON value")
