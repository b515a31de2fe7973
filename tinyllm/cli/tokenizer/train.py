"""`tinyllm tokenizer train`: learn a vocabulary from a text, and watch how."""

import io
import json
import os
import sys
import time
from pathlib import Path

from tqdm import tqdm

from tinyllm.cli import add_command
from tinyllm.cli.tokenizer.opening import advance, free_path
from tinyllm.cli.tokenizer.watch import watcher
from tinyllm.errors import UserError
from tinyllm.tokenizer import CHAT_TEMPLATES, BPETokenizer

EXAMPLE = """example:
  tinyllm tokenizer train book.txt --vocab 4096 --pattern gpt4 --out book.json
  tinyllm tokenizer train book.txt --vocab 999 --out b.json --special "<|end|>"
  tinyllm tokenizer train stories --vocab 512 --out words.json --watch
"""


def add_parsers(commands):
    """Add `tinyllm tokenizer train`."""
    train = add_command(commands, "train", "learn a byte-level BPE vocabulary from text", EXAMPLE)
    train.add_argument("file", metavar="FILE", help="a file, folder, glob, .gz, - or the name of a corpus")
    train.add_argument("--vocab", type=int, required=True, metavar="N", help="how many tokens to have")
    train.add_argument("--out", required=True, metavar="PATH", help="the JSON file to write")
    pattern = "where text is cut: gpt2 (default), gpt4, o200k or a regex"
    train.add_argument("--pattern", default="gpt2", help=pattern)
    names = {"nargs": "+", "action": "extend", "default": [], "metavar": "NAME"}
    train.add_argument("--special", **names, help="special tokens to add, such as \"<|endoftext|>\"")
    chat = "a chat template to keep in the file, with its special tokens: " + ", ".join(CHAT_TEMPLATES)
    train.add_argument("--chat", choices=tuple(CHAT_TEMPLATES), metavar="NAME", help=chat)
    train.add_argument("--watch", action="store_true", help="show every merge: its count, parts and token")
    train.add_argument("--overwrite", action="store_true", help="replace PATH if it is there")
    train.add_argument("--json", action="store_true", help="print the result as JSON")
    train.set_defaults(run=run_train)


def run_train(args):
    """Train on a corpus, save, and say how well the vocabulary fits that corpus."""
    if args.watch and args.json:
        raise UserError("--watch is for people and --json for programs: choose one")
    out = free_path(args.out, args.overwrite)
    template = CHAT_TEMPLATES.get(args.chat)
    needed = template.special_tokens if template else []
    special = args.special + [name for name in needed if name not in args.special]
    with _opened(args.file) as file:
        start = time.perf_counter()
        if args.watch:
            with watcher(args.vocab - 256 - len(special)) as show:
                tokenizer = BPETokenizer.train(file, args.vocab, args.pattern, special, on_merge=show)
        else:
            with tqdm(desc="merges", unit="", file=sys.stderr, disable=None, leave=False) as bar:
                tokenizer = BPETokenizer.train(file, args.vocab, args.pattern, special, advance(bar))
        seconds = time.perf_counter() - start
        tokenizer.chat = template
        tokenizer.save(out)
        n_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)
        n_tokens = sum(map(len, tokenizer.encode_file(file)))
    _conclude(args, out, n_bytes, n_tokens, tokenizer, seconds)


def _opened(name):
    """A corpus as a binary file. One that is a file is read in parts, and may be larger than memory."""
    from tinyllm.data import SOURCES, load_corpus  # here: encode and decode start faster without the corpora

    path = Path(name)
    if name not in SOURCES and path.suffix != ".gz" and path.is_file() and path.stat().st_size:
        try:
            return path.open("rb")
        except OSError as error:
            raise UserError(f"cannot read {name}: {error.strerror or error}") from None
    return io.BytesIO(load_corpus(name).data)


def _conclude(args, out, n_bytes, n_tokens, tokenizer, seconds):
    size = tokenizer.vocab_size
    if args.json:
        facts = {"path": str(out), "vocab_size": size, "fingerprint": tokenizer.fingerprint()}
        facts |= {"corpus": args.file, "corpus_bytes": n_bytes, "corpus_tokens": n_tokens}
        print(json.dumps(facts | {"seconds": round(seconds, 3)}))
        return
    if size < args.vocab:
        print(f"{args.file} has no more pairs to merge, so there are fewer tokens than {args.vocab:,}")
    took = f"{seconds:.1f}" if seconds >= 1 else f"{seconds:.2f}"
    print(f"learnt {size:,} tokens from {n_bytes:,} bytes in {took} s; saved to {out}")
    print(f"the text is {n_tokens:,} tokens long, {n_bytes / max(n_tokens, 1):.2f} bytes each")
