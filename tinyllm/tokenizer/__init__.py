"""Tokenizers: text into whole numbers and back, without loss."""

import os

import regex

from tinyllm.errors import UserError
from tinyllm.tokenizer import files
from tinyllm.tokenizer.base import Tokenizer
from tinyllm.tokenizer.bpe import BPETokenizer
from tinyllm.tokenizer.byte import ByteTokenizer
from tinyllm.tokenizer.char import CharTokenizer
from tinyllm.tokenizer.patterns import PATTERNS

__all__ = [
    "PATTERNS",
    "BPETokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "Tokenizer",
    "load_tokenizer",
    "make_tokenizer",
]

KINDS = {  # kind -> its class and the fields that its file must have, no more and no fewer
    CharTokenizer.kind: (CharTokenizer, {"characters"}),
    ByteTokenizer.kind: (ByteTokenizer, set()),
    BPETokenizer.kind: (BPETokenizer, {"pattern", "merges"}),
}


def load_tokenizer(path):
    """Load what `save` wrote. The file is checked in full; UserError says what is wrong with it."""
    data = files.read(path)
    try:
        return _build(files.parse(data))
    except UserError as e:
        raise UserError(f"{path}: {e}") from None
    except RecursionError:  # from reading the JSON, or from quoting a value of it in a message
        raise UserError(f"{path}: not a tokenizer file: its JSON is nested too deeply") from None


def _build(fields):
    """Make a tokenizer of the fields of a file, or raise UserError."""
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(f"unknown kind of tokenizer {str(kind)[:20]!r}: it must be {', '.join(KINDS)}")
    cls, wanted = KINDS[kind]
    different = sorted((wanted | {"special_tokens"}) ^ fields.keys())
    if different:
        problem = "unknown" if different[0] in fields else "missing"
        raise UserError(f"the field {different[0][:40]!r} is {problem}")
    special = fields["special_tokens"]
    if not isinstance(special, dict):
        raise UserError("special_tokens is not an object of names and ids")
    tokenizer = cls._from_fields(fields, list(special))
    for name, given in special.items():
        wanted_id = tokenizer.special_tokens[name]
        if type(given) is not int or given != wanted_id:
            raise UserError(f"the special token {name!r} must have the id {wanted_id}, not {str(given)[:20]}")
    return tokenizer


def make_tokenizer(spec, data, progress=None):
    """Get the tokenizer that a command line asks for.

    spec: "char" or "bpe:4096" (trained on `data`, bytes), "byte", or the path of a tokenizer file. Raises
    UserError.
    """
    if spec == "char":
        return CharTokenizer.train(data)
    if spec == "byte":
        return ByteTokenizer()
    size = regex.fullmatch(r"bpe(?::(.*))?", spec)
    if size is None:
        if not os.path.lexists(spec):
            raise UserError(f"there is no tokenizer {spec!r}: say char, byte, bpe:4096 or the path of a file")
        return load_tokenizer(spec)
    if not regex.fullmatch(r"[0-9]{1,9}", size[1] or ""):
        raise UserError(f"the tokenizer {spec!r} needs the size of its vocabulary, such as bpe:4096")
    return BPETokenizer.train(data, int(size[1]), progress=progress)
