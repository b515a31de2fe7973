"""Write tokenizer files as JSON, and check the types of values that were read."""

import json
from typing import Any

from tinyllm.config import WORDS
from tinyllm.errors import UserError
from tinyllm.files import LARGEST, MOST, count_values


def dump(fields: dict) -> bytes:
    """Write a dict as JSON bytes in ASCII, one field per line; equal dicts give equal bytes."""
    lines = (f'"{key}": {json.dumps(value, separators=(",", ":"))}' for key, value in fields.items())
    data = ("{\n" + ",\n".join(lines) + "\n}\n").encode("ascii")
    if len(data) > LARGEST or count_values(data) > MOST:  # `read_json` would refuse it
        most = f"{LARGEST >> 20} MB and {MOST} values"
        raise UserError(f"the vocabulary is too large for a tokenizer file, which has at most {most}")
    return data


def one_of(value: Any, where: str, *kinds: type) -> Any:
    """Return the value if its type is one of `kinds`, or raise UserError. A bool is not a number."""
    if type(value) not in kinds:
        expected = " or ".join(WORDS[kind] for kind in kinds)
        given = f"the text {value[:20]!r}" if isinstance(value, str) else WORDS[type(value)]
        raise UserError(f"{where} is {given}, not {expected}")
    return value
