"""Read GPT-2's files (OpenAI, 2019): `vocab.json`, {token: id}; `merges.txt`, two tokens a line.

The files do not list special tokens. Entries that no merge makes are special: those in plain ASCII, such as
"<|endoftext|>", and those with a character that stands for no byte.
"""

import os
from pathlib import Path
from typing import Any

from tinyllm.config import conform
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


def load(vocab_path: str | Path, merges_path: str | Path, pattern: str | None) -> BPETokenizer:
    """Load a tokenizer from the two files. Raises UserError if one is missing or wrong."""
    if os.path.lexists(Path(vocab_path).with_name("added_tokens.json")):
        raise UserError("added_tokens.json in its folder cannot be read: take a folder with tokenizer.json")
    if not os.path.lexists(vocab_path):
        raise UserError("not a tokenizer file, or a merges.txt without a vocab.json in its folder")
    vocab, merges = _named(vocab_path, _read_vocab), _named(merges_path, _read_merges)
    made = {word for left, right in merges for word in (left, right, left + right)} | set(CHARACTERS.values())
    special = {word: i for word, i in vocab.items()
               if word not in made and (word.isascii() or token_bytes(word) is None)}
    if not merges and (words := [word for word in special if word.isascii() and word.isalnum()]):
        raise UserError(f"without merges nothing makes the token {words[0][:40]!r}: is merges.txt empty?")
    vocabulary = Vocabulary.from_words(vocab, merges, False, special.keys())
    return BPETokenizer.from_vocabulary(vocabulary, pattern or "gpt2", special)


def _named(path, read):
    """Read and parse a file. Raises UserError with its name, to tell the two files apart."""
    try:
        return read(read_bytes(path))
    except UserError as e:
        raise UserError(f"{Path(path).name}: {e}") from None


def _read_vocab(data):
    vocab = parse_json(data)
    conform(vocab, {})
    return vocab


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
