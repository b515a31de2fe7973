"""What several commands ask for: a text, special tokens, a place to write to."""

import os
import sys
from pathlib import Path

from tinyllm.errors import UserError


def add_text(parser):
    """Add the arguments TEXT and --file."""
    parser.add_argument("text", metavar="TEXT", nargs="?", help="the text; - or nothing reads standard input")
    parser.add_argument("--file", metavar="F", help="read the text from a file")


def text_of(args):
    """The bytes that the user means: an argument, a file, or standard input."""
    if args.file is not None and args.text is not None:
        raise UserError("give a TEXT or --file, not both")
    if args.file in (None, "-") and args.text in (None, "-"):
        if sys.stdin.isatty():
            print("write the text here; Ctrl-D on an empty line ends it", file=sys.stderr)
        return sys.stdin.buffer.read()
    if args.file is None:
        return os.fsencode(args.text)  # the bytes as typed, UTF-8 or not
    try:
        return Path(args.file).read_bytes()
    except OSError as e:
        raise UserError(f"cannot read {args.file}: {e.strerror or e}") from None


def add_allow_special(parser):
    """Add the argument --allow-special."""
    allow = 'parse these special tokens, or "all"; otherwise a text that spells one is ordinary text'
    names = {"nargs": "+", "action": "extend", "default": [], "metavar": "NAME"}
    parser.add_argument("--allow-special", **names, help=allow)


def allowed_special(args):
    """What `--allow-special` means for `encode`."""
    return "all" if args.allow_special == ["all"] else args.allow_special


def free_path(path, overwrite, folder=False):
    """A path to write to, which may be a folder's if `folder`; or UserError now and not after a long work."""
    out = Path(path)
    if out.exists() and not overwrite:
        raise UserError(f"{out} is already there; choose another --out, or add --overwrite")
    if not out.absolute().parent.is_dir():
        raise UserError(f"cannot write {out}: there is no folder {out.parent}; make it first")
    if out.exists() and not out.is_file() and not (folder and out.is_dir()):
        raise UserError(f"cannot write {out}: it is not a regular file; choose another --out")
    if not os.access(out.absolute().parent, os.W_OK):
        raise UserError(f"cannot write {out}: you may not write to its folder; choose another --out")
    return out


def advance(bar):
    """A progress callback that moves a tqdm bar."""

    def progress(done, total):
        bar.total = total
        bar.update(done - bar.n)

    return progress
