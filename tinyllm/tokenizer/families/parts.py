"""The parts of a tokenizer.json, read with distrust: each has the fields that its type has, and no others.

A file can ask for anything, so what is not known here is refused by its name instead of being left out.
"""

from tinyllm.errors import UserError
from tinyllm.tokenizer import fields

LONGEST_TEXT = 64  # characters in a part's text: a replacement must not be able to fill the memory
MOST_PARTS = 64
GROWTH = 32  # no chain of parts may make a text longer than this many times, plus 2**20 characters,
STEP = 8  # and no replacement than this many times: so what is made and then refused has a limit, too


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


def replace_all(texts, old, new):
    """`str.replace` in each of some texts. Raises UserError, before it takes memory, where that is absurd."""
    longer = sum(text.count(old) for text in texts) * max(len(new) - len(old), 0)
    if longer > STEP * sum(map(len, texts)) + 2**20:
        raise UserError(f"to replace {old[:20]!r} makes the text more than {STEP} times longer")
    return [text.replace(old, new) for text in texts]


def run_all(steps, value, size, where):
    """Run one step after the other. Raises UserError where `size` of the value grows out of hand."""
    limit = GROWTH * size(value) + 2**20
    for step in steps:
        value = step(value)
        if size(value) > limit:
            raise UserError(f"the {where} makes the text more than {GROWTH} times longer")
    return value
