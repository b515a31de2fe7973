"""The parts of a tokenizer.json, read with distrust: each has the fields that its type has, and no others.

A file can ask for anything, so what is not known here is refused by its name instead of being left out.
"""

from tinyllm.errors import UserError
from tinyllm.tokenizer import fields

LONGEST_TEXT = 64  # characters in a part's text: a replacement must not be able to fill the memory
MOST_PARTS = 64


def take(part, where, **kinds):
    """The values of a part's fields, in order; one alone as it is.

    kinds: name=type, or name=(type, value if it is missing). Raises UserError as `fields.take` does, and for
    a text that is too long.
    """
    wanted = {
        name: ([kind[0]] if kind[1] is not None else [kind[0], type(None)], kind[1])
        if isinstance(kind, tuple)
        else kind
        for name, kind in kinds.items()
    }
    values = fields.take(part, f"the {where} {part['type'][:40]}", **wanted)
    for name, value in values.items():
        if isinstance(value, str) and len(value) > LONGEST_TEXT and name != "precompiled_charsmap":
            raise UserError(f"the field {name!r} of the {where} {part['type']} is too long")
    return values[next(iter(kinds))] if len(kinds) == 1 else list(values.values())


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
