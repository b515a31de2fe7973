"""Read arguments that several commands share: a text, special tokens, and the path of a new file."""

import os
import sys
from pathlib import Path

from tinyllm.cli.text import typed
from tinyllm.errors import UserError
from tinyllm.files import LARGEST, read_bytes, read_stream


def text_of(text: str | None, file: str | None, most: int = LARGEST) -> bytes:
    """Return the user's text as bytes, from an argument, a file or standard input: at most `most` bytes."""
    if file is not None and text is not None:
        raise UserError("give a TEXT or --file, not both")
    if file in (None, "-") and text in (None, "-"):
        if sys.stdin.isatty():
            print("write the text here; Ctrl-D on an empty line ends it", file=sys.stderr)
        return read_stream(sys.stdin.buffer, "standard input", most)
    if file is None:
        return typed(text or "")
    return read_bytes(unpacked(file), most)


def unpacked(file: str) -> str:
    """Return the name of a file. Raises UserError if it is packed: its bytes would be taken for a text."""
    if file.endswith(".gz"):
        raise UserError(f"{file} is packed: unpack it with gunzip first")
    return file


def allowed_special(names: list[str] | None) -> list[str] | str:
    """Turn the values of `--allow-special` into the argument `allowed_special` of `Tokenizer.encode`."""
    return "all" if names == ["all"] else names or []


def free_path(path: str, overwrite: bool) -> Path:
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
