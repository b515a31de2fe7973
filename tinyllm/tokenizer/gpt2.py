"""Read and write GPT-2's files (OpenAI, 2019): `vocab.json`, {token: id}; `merges.txt`, two tokens a line.

The files do not list special tokens. If the caller names none, entries that no merge makes are special: those
in plain ASCII, like "<|endoftext|>", and those with a character that stands for no byte.
"""

import json
import os
from pathlib import Path
from typing import Any

from tinyllm.errors import UserError
from tinyllm.files import atomic_write, parse_json, read_bytes
from tinyllm.tokenizer.base import Tokenizer
from tinyllm.tokenizer.bpe import BPETokenizer, check_plain
from tinyllm.tokenizer.byte_characters import CHARACTERS, token_bytes
from tinyllm.tokenizer.vocabulary import Vocabulary

HEADER = "#version: 0.2"
MOST = 2**20  # lines in a merges.txt: a file must not be able to fill the memory


def looks_like_merges(data: bytes) -> bool:
    """Return True if a file begins like a `merges.txt`: with the header, or with two words."""
    first = data[:1000].split(b"\n", 1)[0].strip()
    return first.startswith(b"#version") or (first[:1] not in b'{["' and len(first.split(b" ")) == 2)


def looks_like_vocab(content: Any) -> bool:
    """Return True if the content of a JSON file is a `vocab.json`: an object of numbers."""
    return isinstance(content, dict) and type(content.get("!")) is int  # "model" may well be a token


def load(vocab_path: str | Path, merges_path: str | Path, pattern: str | None,
         special_tokens: Any) -> BPETokenizer:  # fmt: skip
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


def _build(vocab, merges, pattern, special_tokens=None):
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


def save(tokenizer: Tokenizer, folder: str | Path) -> None:
    """Write `vocab.json` and `merges.txt`, or neither, into a folder, which is made if it does not exist.

    Raises UserError unless reading the content again gives the same tokenizer.
    """
    words, pairs = check_plain(tokenizer, "GPT-2's format").vocabulary.words()
    wanted = tokenizer.to_dict()
    vocab = dict(sorted((tokenizer.special_tokens | words).items(), key=lambda item: item[1]))
    merges = "\n".join([HEADER, *map(" ".join, pairs)]) + "\n"
    try:
        found = _build(vocab, _read_merges(merges.encode()), "gpt2").to_dict()
        lost = [name for name in wanted if found[name] != wanted[name]]
    except UserError as e:
        raise UserError(f"GPT-2's format cannot hold this tokenizer: {e}") from None
    if lost:
        where = f"has no place for the {lost[0]} of this tokenizer"
        raise UserError(f"GPT-2's format {where}; take huggingface")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as e:
        raise UserError(f"cannot write {folder}: {e.strerror or e}; GPT-2's format is a folder") from None
    with (atomic_write(Path(folder, "merges.txt")) as first,
          atomic_write(Path(folder, "vocab.json")) as second):  # fmt: skip
        first.write(merges)
        first.flush()  # a full disk fails here, before either file is renamed
        second.write(json.dumps(vocab, ensure_ascii=False) + "\n")
