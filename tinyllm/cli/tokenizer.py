"""Implement `tinyllm tokenizer`, which trains tokenizers, shows their tokens and encodes texts."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import cycle, repeat
from json import dumps
from pathlib import Path
from typing import BinaryIO, Literal

from tinyllm.cli.command import command
from tinyllm.cli.text import typed
from tinyllm.errors import UserError
from tinyllm.files import LARGEST, open_unchanged, read_bytes, read_stream
from tinyllm.report import tokens
from tinyllm.report.terminal import FAINT, columns, has_colours, pad, paint, printable, progress_bar, width
from tinyllm.tokenizer import BPETokenizer, load_tokenizer, make_tokenizer, save_tokenizer

MOST = 2**20  # bytes of a text to show: it takes hundreds of bytes of memory for each token
# Black on light colours reads the same on a dark and on a light terminal.
COLOURS = [f"38;5;16;48;5;{n}" for n in (153, 222, 157, 218)]


@command("tokenizer train")
def train(file: str, *, vocab: int, out: str, pattern: Literal["gpt2", "gpt4", "o200k", "qwen2"] = "gpt2",
          special: list[str] | None = None, overwrite: bool = False) -> None:
    """Learn a byte-level BPE vocabulary from text.

    FILE                a file, folder, glob, .gz, - or the name of a corpus
    --vocab N           the number of tokens
    --out PATH          the JSON file to write
    --pattern           how text is cut
    --special NAME ...  special tokens to add, such as "<|endoftext|>"
    --overwrite         replace PATH if it exists

    example:
      tinyllm tokenizer train book.txt --vocab 4096 --pattern gpt4 --out book.json
      tinyllm tokenizer train book.txt --vocab 999 --out b.json --special "<|end|>"
    """
    target = _free_path(out, overwrite)
    with _opened(file) as data, progress_bar("merges", unit="") as move:
        tokenizer = BPETokenizer.train(data, vocab, pattern, special or (), move)
        n_bytes = data.tell()
    save_tokenizer(tokenizer, target)
    print(f"learnt {tokenizer.vocab_size:,} tokens from {n_bytes:,} bytes; saved to {target}")


@command("tokenizer encode")
def encode(path: str, text: str | None = None, *, file: str | None = None, json: bool = False,
           out: str | None = None, overwrite: bool = False) -> None:
    """Turn text into token ids; names of special tokens in it are ordinary text.

    With --out, the file may be larger than memory. Training can use the result:
    tinyllm train --data book.tokens --tokenizer book.json

    PATH          a tokenizer file, or a folder with one
    TEXT          the text; if it is - or left out, standard input is read
    --file F      read the text from a file
    --json        print ids and counts as JSON
    --out TOKENS  write the tokens of --file to this file
    --overwrite   replace TOKENS if it exists

    example:
      tinyllm tokenizer encode book.json "To be, or not to be"
      tinyllm tokenizer encode book.json --file book.txt --out book.tokens
    """
    if out is not None:
        if file in (None, "-") or text is not None:
            raise UserError("--out takes a --file to encode, without TEXT")
        from tinyllm.data import token_file  # here: encode starts faster without the corpora

        target, tokenizer = _free_path(out, overwrite), load_tokenizer(path)
        with progress_bar("encoding", unit="B", unit_scale=True) as move:
            n, size = len(token_file(_unpacked(file), tokenizer, target, move)), os.stat(file).st_size
        told = f"{size:,} bytes are {n:,} tokens, {size / max(n, 1):.2f} bytes each; written to {target}"
        print(dumps({"path": str(target), "tokens": n, "bytes": size}) if json else told)
        return
    data = _text_of(text, file)
    ids = load_tokenizer(path).encode(data)
    print(*[dumps({"ids": ids, "tokens": len(ids), "bytes": len(data)})] if json else ids)


@command("tokenizer show")
def show(text: list[str] | None = None, *, file: str | None = None, tokenizer: str = "bpe:4096") -> None:
    """Show the tokens of a text in colours, with their ids.

    A space is shown as ·, an end of line as ↵, a tab as →; bytes that are not text as \\xff.

    TEXT              the text, in quotes; if it is - or left out, standard input is read
    --file F          read the text from a file
    --tokenizer PATH  a file, a folder with one, byte, char, or bpe:N (learnt from the corpus pydocs)

    example:
      tinyllm tokenizer show "Once upon a time"
      tinyllm tokenizer show "naïve 😀 你好" --tokenizer byte
      tinyllm tokenizer show --file story.txt --tokenizer runs/stories-laptop | head
    """
    from tinyllm.data import load_corpus

    if text and len(text) > 1:
        raise UserError("give one TEXT, in quotes; --tokenizer PATH says whose tokens")
    data = learnt_from = _text_of(text[0] if text else None, file, MOST)
    name = tokenizer
    if tokenizer.startswith("bpe:"):
        learnt_from, name = load_corpus("pydocs").data, f"{tokenizer} of pydocs"
    found = make_tokenizer(tokenizer, learnt_from)
    ids = found.encode(data)
    for line in rows([(i, found.decode_bytes([i])) for i in ids]):
        print(line)
    each = f", {len(data) / len(ids):.2f} bytes each" if ids else ""
    print(f"{len(ids):,} tokens, {len(data):,} bytes{each} ({name}, {found.vocab_size:,} tokens)")


def rows(cells: list[tuple[int, bytes]]) -> Iterator[str]:
    """Yield a line of tokens (id, bytes), as wide as the terminal, then a line of their ids, and so on."""
    lines: list[list[tuple[str, str]]] = [[]]
    used, room, colours = 1, columns(), has_colours()
    for i, token in cells:
        text = tokens.visible(token)
        text = text if text == printable(text) else repr(token)[2:-1]
        wide = max(width(text), len(str(i)))
        if used + wide + 1 > room:  # a token that is wider than the terminal gets a line of its own
            lines.append([])
            used = 1
        lines[-1].append((pad(text, wide), str(i).ljust(wide)))
        used = used + wide + 1 if not token.endswith(b"\n") else room
    for line in filter(None, lines):
        codes = cycle(COLOURS) if colours else repeat("")
        yield "|" + "".join(paint(text, code) + "|" for (text, _), code in zip(line, codes, strict=False))
        yield paint((" " + " ".join(number for _, number in line)).rstrip(), FAINT if colours else "")


def _text_of(text: str | None, file: str | None, most: int = LARGEST) -> bytes:
    """Return the user's text as bytes, from an argument, a file or standard input: at most `most` bytes."""
    if file is not None and text is not None:
        raise UserError("give a TEXT or --file, not both")
    if file in (None, "-") and text in (None, "-"):
        return read_stream(sys.stdin.buffer, "standard input", most)
    return typed(text or "") if file is None else read_bytes(_unpacked(file), most)


def _unpacked(file: str) -> str:
    """Return the name of a file. Raises UserError if it is packed: its bytes would be taken for a text."""
    if file.endswith(".gz"):
        raise UserError(f"{file} is packed: unpack it with gunzip first")
    return file


def _free_path(path: str, overwrite: bool) -> Path:
    """Return the path of a new file. Raises UserError if it cannot be written, before any work is done."""
    out = Path(path)
    if out.exists() and not overwrite:
        raise UserError(f"{out} is already there; choose another --out, or add --overwrite")
    if out.is_dir() or not os.access(out.absolute().parent, os.W_OK):
        raise UserError(f"cannot write {out}: choose a file in a folder where you may write")
    return out


def _opened(name: str) -> AbstractContextManager[BinaryIO]:
    """Open a corpus as a binary file; a file is read in parts, so it may be larger than memory."""
    from tinyllm.data import SOURCES, load_corpus  # here: encode starts faster without the corpora

    path = Path(name)
    if name not in SOURCES and path.suffix != ".gz" and path.is_file() and path.stat().st_size:
        return open_unchanged(path)
    return io.BytesIO(load_corpus(name).data)
