"""`tinyllm tokenizer show`: a text in its tokens, in colours, with their ids."""

import json

from tinyllm.cli import add_command
from tinyllm.cli.tokenizer import cells
from tinyllm.cli.tokenizer.opening import (
    add_allow_special,
    add_text,
    allowed_special,
    text_of,
)
from tinyllm.tokenizer import load_tokenizer, make_tokenizer

DEFAULT = "bpe:4096"  # learnt anew from the help topics of Python, which takes no time
EXAMPLE = """example:
  tinyllm tokenizer show "Once upon a time"
  tinyllm tokenizer show "naïve 😀 你好" --tokenizer byte
  tinyllm tokenizer show --file story.txt --tokenizer runs/stories-nano | head
  tinyllm tokenizer show "a<|end|>" --tokenizer book.json --allow-special all

A space is shown as ·, an end of line as ↵, a tab as →; bytes that are no text
as \\xff.
"""


def add_parsers(commands):
    """Add `tinyllm tokenizer show`."""
    parser = add_command(commands, "show", "show a text in its tokens, in colours, with their ids", EXAMPLE)
    add_text(parser)
    kinds = f"a file, a folder with one, byte, char or bpe:N; by default {DEFAULT}, learnt from pydocs"
    parser.add_argument("--tokenizer", metavar="PATH", default=DEFAULT, help=kinds)
    add_allow_special(parser)
    parser.add_argument("--json", action="store_true", help="print id, text and place of each token as JSON")
    parser.set_defaults(run=run_show)


def run_show(args):
    """Print a text in its tokens."""
    data = text_of(args)
    tokenizer, name = _tokenizer(args.tokenizer, data)
    ids = tokenizer.encode(data, allowed_special(args))
    if args.json:
        print(json.dumps(_facts(tokenizer, data, ids, allowed_special(args)), ensure_ascii=False))
        return
    special = set(tokenizer.special_tokens.values())
    found = (_cell(tokenizer.decode_bytes([i]), i, i in special) for i in ids)
    for line in cells.rows(found, cells.columns(), cells.has_colours()):
        print(line)
    each = f", {len(data) / len(ids):.2f} bytes each" if ids else ""
    print(f"{len(ids):,} tokens, {len(data):,} bytes{each} ({name}, {tokenizer.vocab_size:,} tokens)")


def _cell(token, i, special):
    return cells.Cell(cells.visible(token), str(i), special, token.endswith(b"\n"))


def _tokenizer(spec, data):
    """The tokenizer that the user means, and what to call it."""
    if spec == "char":
        return make_tokenizer(spec, data), "the characters of this text"
    if spec != "byte" and spec.partition(":")[0] != "bpe":
        return load_tokenizer(spec), spec
    from tinyllm.data import load_corpus  # here, because a tokenizer file needs none

    corpus = load_corpus("pydocs")
    return make_tokenizer(spec, corpus.data), "bytes" if spec == "byte" else f"{spec} of {corpus.name}"


def _facts(tokenizer, data, ids, allowed):
    """Every token with its id, its bytes as text, and its place in the bytes of the text."""
    places = tokenizer.offsets(data, allowed)
    tokens = [tokenizer.decode_bytes([i]) for i in ids]
    return [
        {"id": i, "text": token.decode("utf-8", "backslashreplace"), "start": start, "end": end}
        for i, token, (start, end) in zip(ids, tokens, places, strict=True)
    ]
