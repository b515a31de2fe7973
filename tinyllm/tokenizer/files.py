"""The tokenizer file: JSON, one field a line, checked before anything is built from it."""

import json

from tinyllm.errors import UserError
from tinyllm.tokenizer.numbers import exact_number

FORMAT = "tinyllm-tokenizer"
VERSIONS = (1, 2)  # 1: a vocabulary that was learnt here; 2: one that came from elsewhere
# A file must not be able to fill the memory. Both are enough for a million merges.
LARGEST = 2**26  # bytes
MOST = 2**22  # values in JSON, of which an empty list has two bytes in the file and 64 in memory


def dump(fields, version=1):
    """Write the fields of a tokenizer as JSON bytes, pure ASCII, the same for equal fields."""
    fields = {"format": FORMAT, "version": version, **fields}
    lines = (f'"{key}": {json.dumps(value, separators=(",", ":"))}' for key, value in fields.items())
    data = ("{\n" + ",\n".join(lines) + "\n}\n").encode("ascii")
    check_size(data)
    return data


def check_size(data):
    """Raise UserError for the bytes of a JSON file that `read` or `parse` would refuse."""
    if len(data) > LARGEST or _values(data) > MOST:
        most = f"{LARGEST >> 20} MB and {MOST} values"
        raise UserError(f"the vocabulary is too large for a tokenizer file, which has at most {most}")


def _values(data):
    """About how many values JSON holds, and never fewer."""
    return 1 + sum(map(data.count, (b",", b"[", b"{")))


def read(path):
    """The bytes of a file of reasonable size. Raises UserError."""
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except (OSError, ValueError) as e:  # ValueError: a path with a zero byte
        raise UserError(f"cannot read the tokenizer {path}: {getattr(e, 'strerror', None) or e}") from None
    if len(data) > LARGEST:
        raise UserError(f"{path} is not a tokenizer file: it is larger than {LARGEST >> 20} MB")
    return data


def parse(data):
    """Turn the bytes of a JSON file into what it holds. Raises UserError."""
    if _values(data) > MOST:
        raise UserError(f"not a tokenizer file: it holds more than {MOST} values")
    try:
        text = data.decode("utf-8")
        hooks = {"object_pairs_hook": _without_repetition, "parse_constant": _no_constant}
        return json.loads(text, parse_float=exact_number, **hooks)
    except UnicodeDecodeError as e:
        raise UserError(f"not a tokenizer file: byte {e.start} is not UTF-8") from None
    except json.JSONDecodeError as e:
        where = f"line {e.lineno}, column {e.colno}"
        raise UserError(f"not a tokenizer file: no JSON at {where} ({e.msg})") from None
    except UserError:
        raise
    except ValueError:  # Python refuses to read an integer of thousands of digits
        raise UserError("not a tokenizer file: it holds a number that is too long") from None


def check_version(fields):
    """Take format and version out of the fields of our own file, and return the version. Raises UserError."""
    if not isinstance(fields, dict) or fields.pop("format", None) != FORMAT:
        raise UserError(f'not a tokenizer file: it does not say "format": "{FORMAT}"')
    version = fields.pop("version", None)
    if type(version) is not int or version not in VERSIONS:
        newest = f"up to version {VERSIONS[-1]}"
        raise UserError(f"this tinyllm reads tokenizer files {newest}, not {str(version)[:20]}")
    return version


def _without_repetition(pairs):
    """A JSON object as a dict; of a key that is there twice, the last would silently win otherwise."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise UserError("not a tokenizer file: a key is there twice")
    return fields


def _no_constant(name):
    raise UserError(f"not a tokenizer file: {name} is not a number in JSON")
