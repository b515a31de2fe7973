"""`tinyllm tokenizer encode | decode`: text into ids and back."""

import json
import os
import re
import sys

from tqdm import tqdm

from tinyllm.cli import add_command
from tinyllm.cli.tokenizer.opening import (
    add_allow_special,
    add_text,
    advance,
    allowed_special,
    free_path,
    text_of,
)
from tinyllm.errors import UserError
from tinyllm.tokenizer import load_tokenizer

ENCODE_EXAMPLE = """example:
  tinyllm tokenizer encode book.json "To be, or not to be"
  tinyllm tokenizer encode book.json "the end<|end|>" --allow-special "<|end|>"
  tinyllm tokenizer encode book.json --file book.txt --out book.tokens

With --out the file may be larger than memory; what is written, training maps from
the disk: tinyllm train --data book.tokens --tokenizer book.json
"""
DECODE_EXAMPLE = """example:
  tinyllm tokenizer decode book.json 84 111 32 98 101
  echo "84 111 32 98 101" | tinyllm tokenizer decode book.json
"""


def add_parsers(commands):
    """Add `tinyllm tokenizer encode` and `decode`."""
    encode = add_command(commands, "encode", "turn text into token ids", ENCODE_EXAMPLE)
    encode.add_argument("path", metavar="PATH", help="a tokenizer file, or a folder with one")
    add_text(encode)
    add_allow_special(encode)
    encode.add_argument("--json", action="store_true", help="print ids and counts as JSON")
    encode.add_argument("--out", metavar="TOKENS", help="write the tokens of --file to this file")
    encode.add_argument("--overwrite", action="store_true", help="replace TOKENS if it is there")
    encode.set_defaults(run=run_encode)

    decode = add_command(commands, "decode", "turn token ids into text, byte for byte", DECODE_EXAMPLE)
    decode.add_argument("path", metavar="PATH", help="a tokenizer file, or a folder with one")
    decode.add_argument("ids", metavar="ID", nargs="*", help="token ids; - or nothing reads standard input")
    decode.set_defaults(run=run_decode)


def run_encode(args):
    """Print the ids of a text, or write them to a file."""
    if args.out is not None:
        _encode_file(args)
        return
    tokenizer = load_tokenizer(args.path)
    data = text_of(args)
    ids = tokenizer.encode(data, allowed_special=allowed_special(args))
    if args.json:
        print(json.dumps({"ids": ids, "tokens": len(ids), "bytes": len(data)}))
    else:
        print(*ids)


def _encode_file(args):
    from tinyllm.data import token_file  # here: encode and decode start faster without the corpora

    if args.file in (None, "-") or args.text is not None or args.allow_special:
        raise UserError("--out takes a --file to encode, without TEXT and without --allow-special")
    out = free_path(args.out, args.overwrite)
    tokenizer = load_tokenizer(args.path)
    bar = tqdm(desc="encoding", unit="B", unit_scale=True, file=sys.stderr, disable=None, leave=False)
    with bar:
        n = len(token_file(args.file, tokenizer, progress=advance(bar), out=out))
    n_bytes = os.stat(args.file).st_size
    if args.json:
        print(json.dumps({"path": str(out), "tokens": n, "bytes": n_bytes}))
    else:
        print(f"{n_bytes:,} bytes are {n:,} tokens, {n_bytes / max(n, 1):.2f} bytes each; written to {out}")


def run_decode(args):
    """Write the bytes of some ids to standard output, exactly; a terminal also gets an end of line."""
    tokenizer = load_tokenizer(args.path)
    words = args.ids
    if words in ([], ["-"]):
        words = [sys.stdin.buffer.read().decode("utf-8", "replace")]
    words = re.split(r"[\s,\[\]]+", " ".join(words))  # lists as Python and JSON write them are welcome too
    data = tokenizer.decode_bytes([_id(word) for word in words if word])
    sys.stdout.flush()
    sys.stdout.buffer.write(data + b"\n" * sys.stdout.isatty())
    sys.stdout.buffer.flush()


def _id(word):
    """A token id as typed: decimal digits, at most 18, which int64 holds."""
    if not re.fullmatch(r"[0-9]{1,18}", word):
        raise UserError(f"{word[:40]!r} is not a token id; ids are whole numbers such as 104 101")
    return int(word)
