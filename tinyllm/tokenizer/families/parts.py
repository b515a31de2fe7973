"""The parts of a tokenizer.json, read with distrust: each has the fields that its type has, and no others.

A file can ask for anything, so what is not known here is refused by its name instead of being left out.
"""

from tinyllm.errors import UserError

LONGEST_TEXT = 64  # characters in a part's text: a replacement must not be able to fill the memory
MOST_PARTS = 64
REQUIRED = object()


def take(part, where, **fields):
    """The values of a part's fields, in order.

    fields: name=type, or name=(type, value if it is missing). Raises UserError for a field that is missing,
    unknown or of another type, and for a text that is too long.
    """
    unknown = sorted(set(part) - {"type", *fields})
    if unknown:
        raise UserError(f"the {where} {part['type']} has the unknown field {unknown[0][:40]!r}")
    values = []
    for name, wanted in fields.items():
        kind, default = wanted if isinstance(wanted, tuple) else (wanted, REQUIRED)
        value = part.get(name, default)
        if value is REQUIRED:
            raise UserError(f"the {where} {part['type']} lacks the field {name!r}")
        if value is not default and type(value) is not kind:
            raise UserError(f"the field {name!r} of the {where} {part['type']} is no {kind.__name__}")
        if isinstance(value, str) and len(value) > LONGEST_TEXT and name != "precompiled_charsmap":
            raise UserError(f"the field {name!r} of the {where} {part['type']} is too long")
        values.append(value)
    return values[0] if len(values) == 1 else values


def flatten(part, where, children):
    """A part as a list of parts without any Sequence: of a Sequence, the parts that it holds, in order.

    children: how a Sequence calls its list. None is no part. Raises UserError.
    """
    found, todo = [], [part]
    while todo:
        part = todo.pop()
        if part is None:
            continue
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise UserError(f"the {where} is not an object with a type")
        if part["type"] == "Sequence":
            inner = take(part, where, **{children: list})
            todo += reversed(inner)
        else:
            found.append(part)
        if len(found) + len(todo) > MOST_PARTS:
            raise UserError(f"the {where} has more than {MOST_PARTS} parts")
    return found


def one_of(table, part, where):
    """What a table has for the type of a part; UserError names a type that it does not have."""
    if part["type"] not in table:
        raise UserError(f"the {where} {part['type'][:40]!r} is not known here; there are {', '.join(table)}")
    return table[part["type"]]


def literal(pattern, where):
    """The text of a pattern {"String": text}. Raises UserError for anything else, a regex too."""
    text = pattern.get("String") if len(pattern) == 1 else None
    if not isinstance(text, str):
        raise UserError(f"the {where} has a pattern that is no plain text: {str(pattern)[:60]}")
    if not 0 < len(text) <= LONGEST_TEXT:
        raise UserError(f"the {where} has a pattern of {len(text)} characters, not of 1 to {LONGEST_TEXT}")
    return text
