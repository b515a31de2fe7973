"""Read GPT-2's files (OpenAI, 2019): `vocab.json`, {token: id}; `merges.txt`, two tokens a line.

The files do not list special tokens. If the caller names none, entries that no merge makes are special: those
in plain ASCII, like "<|endoftext|>", and those with a character that stands for no byte.
"""

import os
from pathlib import Path
from typing import Any

from tinyllm.errors import UserError
from tinyllm.files import parse_json, read_bytes
from tinyllm.tokenizer.bpe import BPETokenizer
from tinyllm.tokenizer.byte_characters import CHARACTERS, token_bytes
from tinyllm.tokenizer.vocabulary import Vocabulary

MOST = 2**20  # lines in a merges.txt: a file must not be able to fill the memory


def looks_like_merges(data: bytes) -> bool:
    """Return True if a file begins like a `merges.txt`: with the header, or with two words."""
    first = data[:1000].split(b"\n", 1)[0].strip()
    return first.startswith(b"#version") or (first[:1] not in b'{["' and len(first.split(b" ")) == 2)


def looks_like_vocab(content: Any) -> bool:
    """Return True if the content of a JSON file is a `vocab.json`: an object of numbers."""
    return isinstance(content, dict) and type(content.get("!")) is int  # "model" may well be a token


def load(vocab_path: str | Path, merges_path: str | Path, pattern: str | None,
         special_tokens: Any) -> BPETokenizer:
    """Load a tokenizer from the two files. Raises UserError if one is missing or wrong."""
    added = Path(vocab_path).with_name("added_tokens.json")
    if os.path.lexists(added):
        advice = "convert the folder to a tokenizer.json"
        raise UserError(f"{added.name} is in the same folder and cannot be read: {advice}")
    if not os.path.lexists(vocab_path):
        raise UserError("not a tokenizer file, or a merges.txt without a vocab.json in its folder")
    vocab, merges = _named(vocab_path, parse_json), _named(merges_path, _read_merges)
    if not isinstance(vocab, dict):
        raise UserError(f"{vocab_path} is not an object of tokens and ids")
    return _build(vocab, merges, pattern or "gpt2", special_tokens)


def _named(path, parse):
    """Read and parse a file. Raises UserError with its name, to tell the two files apart."""
    try:
        return parse(read_bytes(path))
    except UserError as e:
        raise UserError(f"{Path(path).name}: {e}") from None


def _build(vocab, merges, pattern, special_tokens):
    made = {word for left, right in merges for word in (left, right, left + right)} | set(CHARACTERS.values())
    if special_tokens is None:
        special_tokens = [
            word for word in vocab if word not in made and (word.isascii() or token_bytes(word) is None)
        ]
        if not merges and (words := [word for word in special_tokens if word.isascii() and word.isalnum()]):
            raise UserError(f"without merges nothing makes the token {words[0][:40]!r}: is merges.txt empty?")
    vocabulary = Vocabulary.from_words(vocab, merges, False, set(special_tokens))
    return BPETokenizer.from_vocabulary(vocabulary, pattern, _numbered(vocab, special_tokens))


def _read_merges(data):
    """Read the lines of a `merges.txt`: bytes -> [(left, right)]. Raises UserError, naming the line."""
    if data.count(b"\n") > MOST:
        raise UserError(f"it has more than {MOST} lines")
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as e:
        raise UserError(f"byte {e.start} is not UTF-8") from None
    merges = []
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        if line.startswith("#version") or not line:
            continue
        pair = tuple(line.split(" ", 2))
        if len(pair) != 2 or "" in pair:
            raise UserError(f"line {number} is not two tokens with a space between them")
        merges.append(pair)
    return merges


def _numbered(vocab, special_tokens):
    """Return {name: id}; names without an id are numbered after the largest id."""
    following = max((i for i in vocab.values() if type(i) is int), default=-1) + 1
    numbered = dict(special_tokens) if isinstance(special_tokens, dict) else {}
    for name in special_tokens:
        if name in vocab and numbered.setdefault(name, vocab[name]) != vocab[name]:
            raise UserError(f"the special token {name!r} has the id {vocab[name]} in the vocabulary")
        if name not in numbered:
            numbered[name], following = following, following + 1
    return numbered
