"""Read and write tokenizer files as JSON, with checks of sizes, nesting and types."""

import json
from pathlib import Path
from typing import Any

from tinyllm.errors import UserError

# A file must not be able to fill the memory. Both limits are enough for a million merges.
LARGEST = 2**26  # bytes
MOST = 2**22  # values, of which an empty list has two bytes in the file and 64 in memory
_WORDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number", bool: "true or false",
          float: "a number", type(None): "null"}  # fmt: skip


def dump(fields: dict) -> bytes:
    """Write a dict as JSON bytes in ASCII, one field per line; equal dicts give equal bytes."""
    lines = (f'"{key}": {json.dumps(value, separators=(",", ":"))}' for key, value in fields.items())
    data = ("{\n" + ",\n".join(lines) + "\n}\n").encode("ascii")
    if len(data) > LARGEST or _values(data) > MOST:  # `read` or `parse` would refuse it
        most = f"{LARGEST >> 20} MB and {MOST} values"
        raise UserError(f"the vocabulary is too large for a tokenizer file, which has at most {most}")
    return data


def _values(data):
    """Return an upper bound of the number of values in JSON."""
    return 1 + sum(map(data.count, (b",", b"[", b"{")))


def read(path: str | Path) -> bytes:
    """Return the bytes of a file of reasonable size. Raises UserError."""
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except (OSError, ValueError) as e:  # ValueError: a path with a zero byte
        raise UserError(f"cannot read the tokenizer {path}: {getattr(e, 'strerror', None) or e}") from None
    if len(data) > LARGEST:
        raise UserError(f"{path} is not a tokenizer file: it is larger than {LARGEST >> 20} MB")
    return data


def parse(data: bytes) -> Any:
    """Parse the bytes of a JSON file. Raises UserError."""
    if _values(data) > MOST:
        raise UserError(f"not a tokenizer file: it holds more than {MOST} values")
    try:
        text = data.decode("utf-8")
        return json.loads(text, object_pairs_hook=_without_repetition, parse_constant=_no_constant)
    except UnicodeDecodeError as e:
        raise UserError(f"not a tokenizer file: byte {e.start} is not UTF-8") from None
    except json.JSONDecodeError as e:
        where = f"line {e.lineno}, column {e.colno}"
        raise UserError(f"not a tokenizer file: no JSON at {where} ({e.msg})") from None
    except UserError:
        raise
    except ValueError:  # Python refuses to read an integer of thousands of digits
        raise UserError("not a tokenizer file: it holds a number that is too long") from None


def one_of(value: Any, where: str, *kinds: type) -> Any:
    """Return the value if it has one of the types, exactly: true is not a number. Raises UserError."""
    if type(value) not in kinds:
        expected = " or ".join(_WORDS[kind] for kind in kinds)
        given = f"the text {value[:20]!r}" if isinstance(value, str) else _WORDS[type(value)]
        raise UserError(f"{where} is {given}, not {expected}")
    return value


def _without_repetition(pairs):
    """Build a dict from a JSON object. Raises UserError for a repeated key, instead of taking the last."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise UserError("not a tokenizer file: a key is there twice")
    return fields


def _no_constant(name):
    raise UserError(f"not a tokenizer file: {name} is not a number in JSON")
