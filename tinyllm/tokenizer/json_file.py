"""Write tokenizer files as JSON."""

import json

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
