"""Read the files of other libraries: rank files of tiktoken, and GPT-2's `vocab.json` and `merges.txt`.

A line of a rank file (tiktoken's `load.py`, OpenAI 2022) has a token in base64 and its rank. It says neither
how text is split nor which tokens are special: the caller says both. Every text gets tiktoken's ids.

GPT-2's files (OpenAI, 2019) are `vocab.json`, {token: id}, and `merges.txt`, two tokens a line. They do not
list special tokens. Entries that no merge makes are special: those in plain ASCII, such as "<|endoftext|>",
and those with a character that stands for no byte.
"""

import base64
import binascii
import os
import re
from collections.abc import Iterable
from pathlib import Path

from tinyllm.errors import UserError
from tinyllm.files import read_json, read_text
from tinyllm.tokenizer.bpe import BPETokenizer
from tinyllm.tokenizer.vocabulary import CHARACTERS, Vocabulary, token_bytes

MOST = 2**20  # lines in a merges.txt: a file must not be able to fill the memory
_LINE = re.compile(rb"([A-Za-z0-9+/]+={0,2}) ([0-9]{1,9})")


def looks_like_ranks(data: bytes) -> bool:
    """Return True if the first line is base64 text, in a multiple of four characters, and a rank."""
    match = re.match(rb"\s*%b(?=[\r\n]|\Z)" % _LINE.pattern, data)
    return match is not None and len(match[1]) % 4 == 0


def load_ranks(data: bytes, pattern: str | None, special_tokens: Iterable[str] | None) -> BPETokenizer:
    """Load a tokenizer from the bytes of a rank file. Raises UserError with the number of a bad line."""
    if pattern is None:
        raise UserError("a rank file does not say where text is cut: in Python, give tl.load_tokenizer a "
                        'pattern, such as "gpt4", and save what it returns with tl.save_tokenizer')
    ranks = {}
    for number, line in enumerate(data.splitlines(), 1):
        match = _LINE.fullmatch(line)
        if not line:
            continue
        try:
            token = base64.b64decode(match[1], validate=True) if match else b""
        except binascii.Error:
            token = b""
        if not match or not token or token in ranks:
            raise UserError(f"line {number} is not a new token in base64, a space and a rank")
        ranks[token] = int(match[2])
    return BPETokenizer(Vocabulary.from_ranks(ranks), pattern, special_tokens or ())


def load_gpt2(folder: Path) -> BPETokenizer:
    """Load a tokenizer from the two files in a folder. Raises UserError if one is missing or wrong."""
    if os.path.lexists(folder / "added_tokens.json"):
        raise UserError("added_tokens.json in its folder cannot be read: take a folder with tokenizer.json")
    vocab, merges = read_json(folder / "vocab.json", {}), _merges(folder / "merges.txt")
    made = {word for left, right in merges for word in (left, right, left + right)} | set(CHARACTERS.values())
    special = {word: i for word, i in vocab.items()
               if word not in made and (word.isascii() or token_bytes(word) is None)}
    if not merges and (words := [word for word in special if word.isascii() and word.isalnum()]):
        raise UserError(f"without merges nothing makes the token {words[0][:40]!r}: is merges.txt empty?")
    return BPETokenizer(Vocabulary.from_words(vocab, merges, False, special.keys()), "gpt2", special)


def _merges(path):
    """Read the lines of a `merges.txt` -> [(left, right)]. Raises UserError, naming the line."""
    lines = read_text(path).split("\n", MOST)
    if len(lines) > MOST:
        raise UserError(f"{path} has more than {MOST} lines")
    merges = []
    for number, line in enumerate(lines, 1):
        pair = tuple(line.removesuffix("\r").split(" ", 2))
        if line.startswith("#version") or pair == ("",):
            continue
        if len(pair) != 2 or "" in pair:
            raise UserError(f"{path}: line {number} is not two tokens with a space between them")
        merges.append(pair)
    return merges
