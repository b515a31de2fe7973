"""Tokenizer files of every kind: which kind it is shows in the content, never in the name.

own.py: this library's. huggingface.py: `tokenizer.json`. tiktoken.py: rank files. gpt2.py: `vocab.json` with
`merges.txt`. What a file asks for is done exactly, or refused in one line that names it.
"""

import os
from pathlib import Path

from tinyllm.errors import UserError
from tinyllm.tokenizer import files
from tinyllm.tokenizer.formats import gpt2, huggingface, own, tiktoken


def load_tokenizer(path, pattern=None, special_tokens=None):
    """Load a tokenizer file of any format, or a folder with one. UserError says what is wrong with it.

    Formats: what `save` writes; Hugging Face's `tokenizer.json`; a rank file of tiktoken, which needs
    `pattern` ("gpt2", "gpt4" or a regular expression) and may have `special_tokens` ({name: id}, or names
    to be numbered after the ranks); GPT-2's `vocab.json` and `merges.txt`, either of them, beside the
    other.
    """
    path = _in_folder(path)
    data = files.read(path)
    try:
        return _build(path, data, pattern, special_tokens)
    except UserError as e:
        raise UserError(f"{path}: {_shown(str(e))}") from None
    except RecursionError:  # from reading the JSON, or from quoting a value of it in a message
        raise UserError(f"{path}: not a tokenizer file: its JSON is nested too deeply") from None


def _shown(message):
    """A message in one line that leaves the terminal alone, whatever it quotes from the file."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)


def _in_folder(path):
    """The file to read: the path itself, or what a folder has."""
    try:
        is_folder = os.path.isdir(path)
    except ValueError:  # a path with a zero byte
        return path
    if is_folder:
        for name in ("tokenizer.json", "vocab.json"):
            if os.path.lexists(Path(path, name)):
                return Path(path, name)
    return path


def _build(path, data, pattern, special_tokens):
    if tiktoken.looks_like_ranks(data):
        return tiktoken.load(data, pattern, special_tokens)
    if gpt2.looks_like_merges(data):
        return gpt2.load(Path(path).with_name("vocab.json"), path, pattern, special_tokens)
    content = files.parse(data)
    if gpt2.looks_like_vocab(content):
        return gpt2.load(path, Path(path).with_name("merges.txt"), pattern, special_tokens)
    if pattern is not None or special_tokens is not None:
        given = "its pattern is" if pattern is not None else "its special tokens are"
        raise UserError(f"this file says itself what {given}; leave yours out")
    if isinstance(content, dict) and "model" in content and "format" not in content:
        return huggingface.from_document(content)
    return own.build(content)


SAVERS = {"huggingface": huggingface.save, "tiktoken": tiktoken.save, "gpt2": gpt2.save}


def save(tokenizer, path, format):
    """Write a tokenizer in a format of others. Raises UserError for what the format cannot express."""
    if format not in SAVERS:
        raise UserError(f"there is no tokenizer format {format!r}; there are tinyllm, {', '.join(SAVERS)}")
    if tokenizer.chat:
        raise UserError(f"{format} has no place for a chat template; take it off first (--drop-chat)")
    SAVERS[format](tokenizer, path)
