"""Tokenizers: text into whole numbers and back, without loss."""

import os

import regex

from tinyllm.errors import UserError
from tinyllm.tokenizer.base import Tokenizer
from tinyllm.tokenizer.bpe import BPETokenizer
from tinyllm.tokenizer.byte import ByteTokenizer
from tinyllm.tokenizer.char import CharTokenizer
from tinyllm.tokenizer.chat import CHAT_TEMPLATES, ChatTemplate, Special
from tinyllm.tokenizer.formats import load_tokenizer
from tinyllm.tokenizer.patterns import PATTERNS

__all__ = [
    "CHAT_TEMPLATES",
    "PATTERNS",
    "BPETokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "ChatTemplate",
    "Special",
    "Tokenizer",
    "load_tokenizer",
    "make_tokenizer",
]

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
