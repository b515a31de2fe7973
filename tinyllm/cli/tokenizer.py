"""Implement `tinyllm tokenizer`, which trains tokenizers, shows their tokens and encodes texts."""

import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from json import dumps
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, BinaryIO, Literal

from tinyllm.cli.command import command
from tinyllm.cli.text import typed
from tinyllm.errors import UserError
from tinyllm.files import LARGEST, open_regular, read_bytes, read_stream
from tinyllm.report import tokens
from tinyllm.report.terminal import FAINT, can_print, has_colours, pad, paint, progress_bar, width
from tinyllm.tokenizer import CHAT_TEMPLATES, BPETokenizer, load_tokenizer, make_tokenizer, save_tokenizer

MOST = 2**20  # bytes of a text to show: it takes hundreds of bytes of memory for each token
# Black on light colours reads the same on a dark and on a light terminal; special tokens are white on red.
COLOURS = [f"38;5;16;48;5;{n}" for n in (153, 222, 157, 218)]
SPECIAL = "1;38;5;231;48;5;124"

@command("tokenizer train")
def train(file: str, *, vocab: int, out: str, pattern: str = "gpt2", special: list[str] | None = None,
          chat: Literal["roles", "chatml", "llama3"] | None = None, overwrite: bool = False) -> None:
    """Learn a byte-level BPE vocabulary from text.

    FILE                a file, folder, glob, .gz, - or the name of a corpus
    --vocab N           the number of tokens
    --out PATH          the JSON file to write
    --pattern           how text is cut: gpt2, gpt4, o200k or a regex
    --special NAME ...  special tokens to add, such as "<|endoftext|>"
    --chat              a chat template to store in the file, with its special tokens
    --overwrite         replace PATH if it exists

    example:
      tinyllm tokenizer train book.txt --vocab 4096 --pattern gpt4 --out book.json
      tinyllm tokenizer train book.txt --vocab 999 --out b.json --special "<|end|>"
    """
    target = _free_path(out, overwrite)
    template = CHAT_TEMPLATES[chat] if chat else None
    names = list(dict.fromkeys([*(special or ()), *(template.special_tokens if template else ())]))
    with _opened(file) as data:
        start = time.perf_counter()
        with progress_bar("merges", unit="") as move:
            tokenizer = BPETokenizer.train(data, vocab, pattern, names, move)
        seconds = time.perf_counter() - start
        tokenizer.chat = template
        save_tokenizer(tokenizer, target)
        n_bytes = data.seek(0, os.SEEK_END)
        data.seek(0)
        n_tokens = sum(map(len, tokenizer.encode_file(data)))
    if tokenizer.vocab_size < vocab:
        print(f"{file} has no more pairs to merge, so there are fewer tokens than {vocab:,}")
    size = tokenizer.vocab_size
    print(f"learnt {size:,} tokens from {n_bytes:,} bytes in {seconds:.2f} s; saved to {target}")
    print(f"the text is {n_tokens:,} tokens long, {n_bytes / max(n_tokens, 1):.2f} bytes each")


@command("tokenizer encode")
def encode(path: str, text: str | None = None, *, file: str | None = None,
           allow_special: list[str] | None = None, json: bool = False, out: str | None = None,
           overwrite: bool = False) -> None:
    """Turn text into token ids.

    With --out, the file may be larger than memory. Training can use the result:
    tinyllm train --data book.tokens --tokenizer book.json

    PATH                      a tokenizer file, or a folder with one
    TEXT                      the text; if it is - or left out, standard input is read
    --file F                  read the text from a file
    --allow-special NAME ...  recognize these special tokens, or "all"; others are ordinary text
    --json                    print ids and counts as JSON
    --out TOKENS              write the tokens of --file to this file
    --overwrite               replace TOKENS if it exists

    example:
      tinyllm tokenizer encode book.json "To be, or not to be"
      tinyllm tokenizer encode book.json "the end<|end|>" --allow-special "<|end|>"
      tinyllm tokenizer encode book.json --file book.txt --out book.tokens
    """
    if out is not None:
        if file is None or file == "-" or text is not None or allow_special:
            raise UserError("--out takes a --file to encode, without TEXT and without --allow-special")
        _encode_file(path, file, _free_path(out, overwrite), json)
        return
    tokenizer = load_tokenizer(path)
    data = _text_of(text, file)
    ids = tokenizer.encode(data, _allowed(allow_special))
    print(*[dumps({"ids": ids, "tokens": len(ids), "bytes": len(data)})] if json else ids)


def _encode_file(path: str, file: str, out: Path, json: bool) -> None:
    from tinyllm.data import token_file  # here: encode starts faster without the corpora

    tokenizer = load_tokenizer(path)
    with progress_bar("encoding", unit="B", unit_scale=True) as move:
        n = len(token_file(_unpacked(file), tokenizer, out, move))
    n_bytes = os.stat(file).st_size
    if json:
        print(dumps({"path": str(out), "tokens": n, "bytes": n_bytes}))
    else:
        print(f"{n_bytes:,} bytes are {n:,} tokens, {n_bytes / max(n, 1):.2f} bytes each; written to {out}")


@command("tokenizer show")
def show(text: str | None = None, *, file: str | None = None, tokenizer: str = "bpe:4096",
         allow_special: list[str] | None = None) -> None:
    """Show the tokens of a text in colours, with their ids.

    A space is shown as ·, an end of line as ↵, a tab as →; bytes that are not text as \\xff.

    TEXT                      the text; if it is - or left out, standard input is read
    --file F                  read the text from a file
    --tokenizer PATH          a file, a folder with one, byte, char, or bpe:N (learnt from the corpus pydocs)
    --allow-special NAME ...  recognize these special tokens, or "all"; others are ordinary text

    example:
      tinyllm tokenizer show "Once upon a time"
      tinyllm tokenizer show "naïve 😀 你好" --tokenizer byte
      tinyllm tokenizer show --file story.txt --tokenizer runs/stories-laptop | head
      tinyllm tokenizer show "a<|end|>" --tokenizer book.json --allow-special all
    """
    data = _text_of(text, file, MOST)
    found, name = _tokenizer(tokenizer, data)
    ids = found.encode(data, _allowed(allow_special))
    for line in rows([(i, found.decode_bytes([i])) for i in ids], set(found.special_tokens.values())):
        print(line)
    each = f", {len(data) / len(ids):.2f} bytes each" if ids else ""
    print(f"{len(ids):,} tokens, {len(data):,} bytes{each} ({name}, {found.vocab_size:,} tokens)")


def _tokenizer(spec: str, data: bytes) -> tuple[Any, str]:
    """Return the tokenizer that the user means, and its name."""
    if spec == "char":
        return make_tokenizer(spec, data), "the characters of this text"
    if spec == "byte":
        return make_tokenizer(spec, data), "bytes"
    if spec.partition(":")[0] != "bpe":
        return load_tokenizer(spec), spec
    from tinyllm.data import load_corpus  # here, because a tokenizer file needs none

    return make_tokenizer(spec, load_corpus("pydocs").data), f"{spec} of pydocs"


def rows(cells: list[tuple[int, bytes]], special: set[int]) -> Iterator[str]:
    """Put tokens (id, bytes) side by side; yield a line of tokens, then a line of their ids, and so on.

    Lines are as wide as the terminal; a token that is longer has a line of its own. Neighbours have different
    colours; without colours, | separates them.
    """
    colours, room = has_colours(), max(20, get_terminal_size()[0])
    line: list[tuple[str, str, str]] = []
    at = 1
    for n, (i, token) in enumerate(cells):
        text = tokens.visible(token)
        text = text if can_print(text) else repr(token)[2:-1]
        wide = max(width(text), len(str(i)) + colours)
        if line and at + wide + 1 > room:
            yield from _finished(line, colours)
            line, at = [], 1
        code = SPECIAL if i in special else COLOURS[n % len(COLOURS)]
        line.append((pad(text, wide), str(i).ljust(wide), code))
        at += wide + (not colours)
        if token.endswith(b"\n"):
            yield from _finished(line, colours)
            line, at = [], 1
    if line:
        yield from _finished(line, colours)


def _finished(line: list[tuple[str, str, str]], colours: bool) -> Iterator[str]:
    if colours:
        yield "".join(paint(text, code) for text, _, code in line)
        yield paint("".join(below for _, below, _ in line).rstrip(), FAINT)
    else:
        yield "|" + "".join(text + "|" for text, _, _ in line)
        yield (" " + " ".join(below for _, below, _ in line)).rstrip()


def _text_of(text: str | None, file: str | None, most: int = LARGEST) -> bytes:
    """Return the user's text as bytes, from an argument, a file or standard input: at most `most` bytes."""
    if file is not None and text is not None:
        raise UserError("give a TEXT or --file, not both")
    if file in (None, "-") and text in (None, "-"):
        if sys.stdin.isatty():
            print("write the text here; Ctrl-D on an empty line ends it", file=sys.stderr)
        return read_stream(sys.stdin.buffer, "standard input", most)
    return typed(text or "") if file is None else read_bytes(_unpacked(file), most)


def _unpacked(file: str) -> str:
    """Return the name of a file. Raises UserError if it is packed: its bytes would be taken for a text."""
    if file.endswith(".gz"):
        raise UserError(f"{file} is packed: unpack it with gunzip first")
    return file


def _allowed(names: list[str] | None) -> list[str] | str:
    """Turn the values of `--allow-special` into the argument `allowed_special` of `Tokenizer.encode`."""
    return "all" if names == ["all"] else names or []


def _free_path(path: str, overwrite: bool) -> Path:
    """Return the path of a new file. Raises UserError if it cannot be written, before any work is done."""
    out = Path(path)
    if out.exists() and not overwrite:
        raise UserError(f"{out} is already there; choose another --out, or add --overwrite")
    if not out.absolute().parent.is_dir():
        raise UserError(f"cannot write {out}: there is no folder {out.parent}; make it first")
    if out.exists() and not out.is_file():
        raise UserError(f"cannot write {out}: it is not a regular file; choose another --out")
    if not os.access(out.absolute().parent, os.W_OK):
        raise UserError(f"cannot write {out}: you may not write to its folder; choose another --out")
    return out


def _opened(name: str) -> AbstractContextManager[BinaryIO]:
    """Open a corpus as a binary file; a file is read in parts, so it may be larger than memory."""
    from tinyllm.data import SOURCES, load_corpus  # here: encode starts faster without the corpora

    path = Path(name)
    if name not in SOURCES and path.suffix != ".gz" and path.is_file() and path.stat().st_size:
        return open_regular(path)
    return io.BytesIO(load_corpus(name).data)
