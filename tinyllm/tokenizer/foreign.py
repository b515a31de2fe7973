"""Read the files of other libraries: rank files of tiktoken, and GPT-2's `vocab.json` and `merges.txt`.

A line of a rank file (tiktoken's `load.py`, OpenAI 2022) has a token in base64 and its rank. It says neither
how text is split nor which tokens are special: the caller says both. Every text in UTF-8 gets tiktoken's ids.
Lone surrogates in a str are encoded as bytes, so that decoding gives the str back; tiktoken joins two into a
character, and replaces one alone by U+FFFD.

GPT-2's files (OpenAI, 2019) are `vocab.json`, {token: id}, and `merges.txt`, two tokens a line. They do not
list special tokens. Entries that no merge makes are special: those in plain ASCII, such as "<|endoftext|>",
and those with a character that stands for no byte.
"""

import base64
import binascii
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tinyllm.config import conform
from tinyllm.errors import UserError
from tinyllm.files import parse_json, read_bytes
from tinyllm.tokenizer.bpe import BPETokenizer
from tinyllm.tokenizer.byte_characters import CHARACTERS, token_bytes
from tinyllm.tokenizer.vocabulary import Vocabulary

MOST = 2**20  # lines in a merges.txt: a file must not be able to fill the memory
_LINE = re.compile(rb"([A-Za-z0-9+/]+={0,2}) ([0-9]{1,9})")


def looks_like_ranks(data: bytes) -> bool:
    """Return True if the first line is base64 text, in a multiple of four characters, and a rank."""
    match = re.match(rb"\s*%b(?=[\r\n]|\Z)" % _LINE.pattern, data)
    return match is not None and len(match[1]) % 4 == 0


def looks_like_merges(data: bytes) -> bool:
    """Return True if a file begins like a `merges.txt`: with the header, or with two words."""
    first = data[:1000].split(b"\n", 1)[0].strip()
    return first.startswith(b"#version") or (first[:1] not in b'{["' and len(first.split(b" ")) == 2)


def looks_like_vocab(content: Any) -> bool:
    """Return True if the content of a JSON file is a `vocab.json`: an object of numbers."""
    return isinstance(content, dict) and type(content.get("!")) is int  # "model" may well be a token


def load_ranks(data: bytes, pattern: str | None, special_tokens: Iterable[str] | None) -> BPETokenizer:
    """Load a tokenizer from the bytes of a rank file. Raises UserError with the number of a bad line."""
    if pattern is None:
        raise UserError("a rank file does not say where text is cut: in Python, give tl.load_tokenizer a "
                        'pattern, such as "gpt4", and save what it returns with tl.save_tokenizer')
    ranks = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line:
            continue
        match = _LINE.fullmatch(line)
        try:
            token = base64.b64decode(match[1], validate=True) if match else None
        except binascii.Error:
            token = None
        if match is None or token is None:
            raise UserError(f"line {number} is not base64, a space and a rank")
        if token in ranks:
            raise UserError(f"line {number} has a token that was there before")
        ranks[token] = int(match[2])
    return BPETokenizer.from_ranks(ranks, pattern, special_tokens or ())


def load_gpt2(folder: Path, pattern: str | None) -> BPETokenizer:
    """Load a tokenizer from the two files in a folder. Raises UserError if one is missing or wrong."""
    if os.path.lexists(folder / "added_tokens.json"):
        raise UserError("added_tokens.json in its folder cannot be read: take a folder with tokenizer.json")
    if not os.path.lexists(folder / "vocab.json"):
        raise UserError("not a tokenizer file, or a merges.txt without a vocab.json in its folder")
    vocab, merges = _read(folder / "vocab.json", _vocab), _read(folder / "merges.txt", _merges)
    made = {word for left, right in merges for word in (left, right, left + right)} | set(CHARACTERS.values())
    special = {word: i for word, i in vocab.items()
               if word not in made and (word.isascii() or token_bytes(word) is None)}
    if not merges and (words := [word for word in special if word.isascii() and word.isalnum()]):
        raise UserError(f"without merges nothing makes the token {words[0][:40]!r}: is merges.txt empty?")
    vocabulary = Vocabulary.from_words(vocab, merges, False, special.keys())
    return BPETokenizer(vocabulary, pattern or "gpt2", special)


def _read(path: Path, parse: Callable[[bytes], Any]) -> Any:
    """Read and parse a file. Raises UserError with its name, to tell the two files apart."""
    try:
        return parse(read_bytes(path))
    except UserError as e:
        raise UserError(f"{path.name}: {e}") from None


def _vocab(data):
    vocab = parse_json(data)
    conform(vocab, {})
    return vocab


def _merges(data):
    """Read the lines of a `merges.txt`: bytes -> [(left, right)]. Raises UserError, naming the line."""
    if data.count(b"\n") > MOST:
        raise UserError(f"it has more than {MOST} lines")
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as e:
        raise UserError(f"byte {e.start} is not UTF-8") from None
    merges = []
    for number, line in enumerate(lines, 1):
        pair = tuple(line.removesuffix("\r").split(" ", 2))
        if line.startswith("#version") or pair == ("",):
            continue
        if len(pair) != 2 or "" in pair:
            raise UserError(f"line {number} is not two tokens with a space between them")
        merges.append(pair)
    return merges
