"""Load tokenizers from files of several formats, recognised by their content, and save them in one."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinyllm.errors import UserError, instead
from tinyllm.files import atomic_write_bytes, parse_json, read_bytes
from tinyllm.tokenizer import foreign, huggingface
from tinyllm.tokenizer.base import Tokenizer
from tinyllm.tokenizer.bpe import BPETokenizer
from tinyllm.tokenizer.simple import ByteTokenizer, CharTokenizer

OF_THE_WORLD = Path(__file__).with_name("world.json")  # made by tools/world_tokenizer.py


def load_tokenizer(path: str | Path, pattern: str | None = None, special_tokens: Any = None) -> Tokenizer:
    """Load a tokenizer from a file of any format, or from a folder with such a file.

    Formats: a `tokenizer.json` of `save_tokenizer` or Hugging Face; a rank file of tiktoken, which needs
    `pattern` ("gpt2", "gpt4", "o200k" or "qwen2") and may have `special_tokens` ({name: id}, or names, which
    get the ids after the ranks); GPT-2's `vocab.json` with a `merges.txt` beside it. Raises
    UserError that says what is wrong with the file.
    """
    for name in ("tokenizer.json", "vocab.json"):
        if "\0" not in str(path) and os.path.isdir(path) and os.path.lexists(Path(path, name)):
            path = Path(path, name)
    data = read_bytes(path)
    try:
        if foreign.looks_like_ranks(data):
            return foreign.load_ranks(data, pattern, special_tokens)
        if pattern is not None or special_tokens is not None:
            raise UserError("this file has a pattern and special tokens of its own: do not give any")
        return _build(Path(path), data)
    except UserError as e:
        raise UserError(f"{path}: {e}") from None
    except RecursionError:  # from quoting a value of it in a message
        raise UserError(f"{path}: not a tokenizer file: its JSON is nested too deeply") from None


def _build(path, data):
    """Build a tokenizer from a JSON file, in Hugging Face's or in GPT-2's format."""
    try:
        content = parse_json(data)
    except UserError as e:
        raise UserError(f"not a tokenizer file: it {e}") from None
    if isinstance(content, dict) and type(content.get("!")) is int:  # "model" may well be a token
        return foreign.load_gpt2(path.parent)
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise UserError("not a tokenizer file: it has no model")
    return huggingface.from_dict(content)


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
