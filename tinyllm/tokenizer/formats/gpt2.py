"""GPT-2's files (OpenAI, 2019): `vocab.json`, {token: id}, and `merges.txt`, two tokens a line.

They say nothing about special tokens. An entry that no merge makes cannot come from any text, so if it is
plain ASCII, like "<|endoftext|>", or no byte string at all, it is taken for one, unless the caller names
them himself.
"""

import json
import os
from contextlib import suppress
from pathlib import Path

from tinyllm.errors import UserError
from tinyllm.files import atomic_write
from tinyllm.tokenizer import files
from tinyllm.tokenizer.bpe import BPETokenizer
from tinyllm.tokenizer.formats.bytelevel import CHARACTERS, characters, read_vocabulary, token_bytes
from tinyllm.tokenizer.formats.express import check_distinct, check_plain, merges_in_order, needs_whole_first

HEADER = "#version: 0.2"
MOST = 2**20  # lines in a merges.txt: a file must not be able to fill the memory


def looks_like_merges(data):
    """Whether a file begins as a `merges.txt` does: with its header, or with two words."""
    first = data[:1000].split(b"\n", 1)[0].strip()
    return first.startswith(b"#version") or (first[:1] not in b'{["' and len(first.split(b" ")) == 2)


def looks_like_vocab(content):
    """Whether a JSON file is a `vocab.json`: an object of numbers."""
    return isinstance(content, dict) and type(content.get("!")) is int  # "model" may well be a token


def load(vocab_path, merges_path, pattern, special_tokens):
    """Make a tokenizer of the two files. Raises UserError."""
    added = Path(vocab_path).with_name("added_tokens.json")
    if added.exists():
        raise UserError(
            f"{added.name} stands beside, which is not read: convert the folder to a tokenizer.json"
        )
    if not Path(vocab_path).exists():
        raise UserError("not a tokenizer file, or a merges.txt without the vocab.json that belongs beside it")
    vocab = _read(vocab_path, lambda data: files.parse(data))
    merges = _read(merges_path, read_merges)
    if not isinstance(vocab, dict):
        raise UserError(f"{vocab_path} is not an object of tokens and ids")
    names = _unreachable(vocab, merges) if special_tokens is None else list(special_tokens)
    vocabulary = read_vocabulary(vocab, merges, False, set(names))
    return BPETokenizer.from_vocabulary(
        vocabulary, pattern or "gpt2", _numbered(vocab, names, special_tokens)
    )


def _read(path, parse):
    try:
        return parse(files.read(path))
    except UserError as e:
        raise UserError(f"{Path(path).name}: {e}") from None


def read_merges(data):
    """The lines of a `merges.txt`: bytes -> [(left, right)]. Raises UserError, naming the line."""
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


def _unreachable(vocab, merges):
    """The entries that are special tokens: no byte, no result of a merge, and spelled as themselves."""
    made = {left + right for left, right in merges} | set(CHARACTERS.values())
    return [word for word in vocab if word not in made and is_name(word)]


def is_name(word):
    """Whether an entry stands for its own text: plain ASCII, or not all in byte characters."""
    return word.isascii() or token_bytes(word) is None


def _numbered(vocab, names, special_tokens):
    """{name: id} where the caller or the vocabulary has a number; the others follow after it."""
    following = max((i for i in vocab.values() if type(i) is int), default=-1) + 1
    numbered = dict(special_tokens) if isinstance(special_tokens, dict) else {}
    for name in names:
        if name in vocab and numbered.setdefault(name, vocab[name]) != vocab[name]:
            raise UserError(f"the special token {name!r} has the id {vocab[name]} in the vocabulary")
        if name not in numbered:
            numbered[name], following = following, following + 1
    return numbered


def save(tokenizer, folder):
    """Write `vocab.json` and `merges.txt` into a folder, which is made if need be. Raises UserError."""
    check_plain(tokenizer, "GPT-2's format")
    vocabulary = tokenizer.vocabulary
    if tokenizer.pattern != "gpt2":
        raise UserError("GPT-2's format is for GPT-2's split pattern only; take huggingface")
    check_distinct(vocabulary)
    if needs_whole_first(vocabulary):
        raise UserError("GPT-2's format cannot say that whole pieces go first; take huggingface")
    vocab = {characters(token): i for i, token in enumerate(vocabulary.tokens) if token is not None}
    for name, i in tokenizer.special_tokens.items():
        if name in vocab or not is_name(name):
            raise UserError(f"in GPT-2's format the special token {name!r} would be read as bytes")
        vocab[name] = i
    words = [token and characters(token) for token in vocabulary.tokens]
    merges = [(words[left], words[right]) for left, right in merges_in_order(vocabulary)]
    if len(merges) + 1 > MOST:
        raise UserError(f"GPT-2's format has a merge on each line, and at most {MOST} lines are read")
    if any(left.startswith("#version") for left, _ in merges):
        raise UserError("GPT-2's format takes a merge that begins with #version for a header")
    made = {left + right for left, right in merges} | set(CHARACTERS.values())
    lost = [
        word for word in vocab if word not in made and word not in tokenizer.special_tokens and is_name(word)
    ]
    if lost:
        raise UserError(
            f"in GPT-2's format the token {lost[0]!r}, which no merge makes, would become a special one"
        )
    lines = [HEADER, *(f"{left} {right}" for left, right in merges)]
    by_id = dict(sorted(vocab.items(), key=lambda item: item[1]))
    _write_both(Path(folder), "\n".join(lines) + "\n", json.dumps(by_id, ensure_ascii=False) + "\n")


def _write_both(folder, merges, vocab):
    """Write both files into a folder, or neither, and no folder that was not there."""
    made = not folder.exists()
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as e:
        raise UserError(f"cannot write {folder}: {e.strerror or e}; GPT-2's format is a folder") from None
    try:
        with atomic_write(folder / "merges.txt") as first, atomic_write(folder / "vocab.json") as second:
            first.write(merges)
            first.flush()  # what finds no room finds none before either has its name
            second.write(vocab)
    except BaseException:
        if made:
            with suppress(OSError):  # somebody else's file in there is not ours to remove
                folder.rmdir()
        raise
