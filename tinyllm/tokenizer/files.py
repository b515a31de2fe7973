"""Load tokenizers from files of several formats, recognised by their content, and save them in one.

A line of a rank file (tiktoken's `load.py`, OpenAI 2022) has a token in base64 and its rank. It says neither
how text is split nor which tokens are special: the caller says both. Every text gets tiktoken's ids.

GPT-2's files (OpenAI, 2019) are `vocab.json`, {token: id}, and `merges.txt`, two tokens a line: together a
`tokenizer.json` without its list of special tokens. Entries that no merge makes are special: those in plain
ASCII, such as "<|endoftext|>", and those with a character that stands for no byte.
"""

import base64
import gc
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinyllm.errors import UserError, instead, worded
from tinyllm.files import atomic_write_bytes, parse_json, read_bytes, read_json, read_text
from tinyllm.tokenizer.base import Tokenizer
from tinyllm.tokenizer.bpe import BPETokenizer
from tinyllm.tokenizer.huggingface import from_dict
from tinyllm.tokenizer.simple import ByteTokenizer, CharTokenizer
from tinyllm.tokenizer.vocabulary import CHARACTERS, Vocabulary, token_bytes

OF_THE_WORLD = Path(__file__).with_name("world.json")  # made by tools/world_tokenizer.py
MOST = 2**20  # the most lines of a merges.txt, so that no file can fill the memory
BASE64 = rb"((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)"
RANK = re.compile(BASE64 + rb" ([0-9]{1,9})")


def load_tokenizer(path: str | Path, pattern: str | None = None, special_tokens: Any = None) -> Tokenizer:
    """Load a tokenizer from a file of any format, or from a folder with such a file.

    Formats: a `tokenizer.json` of `save_tokenizer` or Hugging Face; a rank file of tiktoken, which needs
    `pattern` ("gpt2", "gpt4", "o200k" or "qwen2") and may have `special_tokens` ({name: id}, or names, which
    get the ids after the ranks); GPT-2's `vocab.json` with a `merges.txt` beside it. Raises UserError if the
    file is none of these, or is broken.
    """
    for name in ("tokenizer.json", "vocab.json"):
        if "\0" not in str(path) and os.path.isdir(path) and os.path.lexists(Path(path, name)):
            path = Path(path, name)
    data, searches = read_bytes(path), gc.isenabled()
    gc.disable()  # or Python searches the many parts of the file, again and again, for objects to free
    try:
        with worded(f"{path}: "):
            return _read(Path(path).parent, data, pattern, special_tokens)
    except RecursionError:  # when an error message quotes a nested value
        raise UserError(f"{path}: not a tokenizer file: its JSON is nested too deeply") from None
    finally:
        if searches:
            gc.enable()


def _read(folder, data, pattern, special_tokens):
    if re.match(rb"\s*%b(?=[\r\n]|\Z)" % RANK.pattern, data):
        return _ranks(data, pattern, special_tokens)
    if pattern is not None or special_tokens is not None:
        raise UserError("this file has a pattern and special tokens of its own: do not give any")
    with worded("not a tokenizer file: it "):
        content = parse_json(data)
    if isinstance(content, dict) and type(content.get("!")) is int:  # even "model" can be a token
        return _gpt2(folder)
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise UserError("not a tokenizer file: it has no model")
    return from_dict(content, data)


def _ranks(data, pattern, special_tokens):
    """Build a tokenizer from the bytes of a rank file. Raises UserError with the number of a bad line."""
    if pattern is None:
        raise UserError("a rank file does not say where text is cut: in Python, give tl.load_tokenizer a "
                        'pattern, such as "gpt4", and save what it returns with tl.save_tokenizer')
    ranks = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line:
            continue
        match = RANK.fullmatch(line)
        token = base64.b64decode(match[1]) if match else b""
        if not token or token in ranks:
            raise UserError(f"line {number} is not a new token in base64, a space and a rank")
        ranks[token] = int(match[2])
    return BPETokenizer(Vocabulary.from_ranks(ranks), pattern, special_tokens or ())


def _gpt2(folder):
    """Read GPT-2's two files in a folder. Raises UserError if one is missing or wrong."""
    if os.path.lexists(folder / "added_tokens.json"):
        raise UserError("added_tokens.json in its folder cannot be read: take a folder with tokenizer.json")
    vocab, lines = read_json(folder / "vocab.json", {}), read_text(folder / "merges.txt").split("\n", MOST)
    if len(lines) > MOST:
        raise UserError(f"merges.txt has more than {MOST} lines")
    merges = [line.removesuffix("\r") for line in lines if line.strip() and not line.startswith("#version")]
    made = {word for merge in merges for word in (*merge.split(" "), merge.replace(" ", ""))}
    made |= {*CHARACTERS.values()}
    special = [word for word in vocab if word not in made and (word.isascii() or token_bytes(word) is None)]
    if not merges and (words := [word for word in special if word.isascii() and word.isalnum()]):
        raise UserError(f"without merges nothing makes the token {words[0][:40]!r}: is merges.txt empty?")
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    with worded("with merges.txt beside it: "):
        return from_dict({
            "version": "1.0", "pre_tokenizer": level, "decoder": level,
            "model": {"vocab": vocab, "merges": merges},
            "added_tokens": [{"id": vocab[word], "content": word, "special": True} for word in special],
        })


@instead(format="the path alone: tinyllm writes tokenizer.json, which tokenizers converts")
def save_tokenizer(tokenizer: Tokenizer, path: str | Path) -> None:
    """Write a `tokenizer.json`, whole or not at all, to the path or into an existing folder.

    Raises UserError for a vocabulary that the format cannot hold.
    """
    data = tokenizer.to_json()
    atomic_write_bytes(Path(path, "tokenizer.json") if os.path.isdir(path) else path, data)


def make_tokenizer(spec: str, data: bytes, progress: Callable[[int, int], None] | None = None) -> Tokenizer:
    """Make a tokenizer from its name on the command line.

    spec: "char", "word" or "bpe:4096" (made from `data`), "byte", "world" (1,024 tokens, learnt from
    tinyllm's generated texts), or the path of a tokenizer file. Raises UserError for anything else.
    """
    made: dict[str, Callable[[], Tokenizer]] = {
        "char": lambda: CharTokenizer.train(data), "word": lambda: BPETokenizer.whole_words(data),
        "byte": ByteTokenizer, "world": lambda: load_tokenizer(OF_THE_WORLD)}
    if spec in made:
        return made[spec]()
    if size := re.fullmatch(r"bpe:([0-9]{1,9})", spec):
        return BPETokenizer.train(data, int(size[1]), progress=progress)
    if not os.path.lexists(spec):
        raise UserError(f"there is no tokenizer {spec!r}: say char, word, byte, world, bpe:4096 or a file")
    return load_tokenizer(spec)
