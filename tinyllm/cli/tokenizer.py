"""`tinyllm tokenizer train | encode | decode`: make a tokenizer, and see what it does to a text."""

import json
import os
import re
import sys
import time
from pathlib import Path

from tqdm import tqdm

from tinyllm.cli import add_command
from tinyllm.errors import UserError
from tinyllm.tokenizer import BPETokenizer, load_tokenizer

EXAMPLE = """example:
  tinyllm tokenizer train stories --vocab 1024 --out words.json
  tinyllm tokenizer encode words.json "Once upon a time"
  tinyllm tokenizer encode words.json --file story.txt | tinyllm tokenizer decode words.json
"""
TRAIN_EXAMPLE = """example:
  tinyllm tokenizer train book.txt --vocab 4096 --pattern gpt4 --special "<|endoftext|>" --out book.json
"""
ENCODE_EXAMPLE = """example:
  tinyllm tokenizer encode book.json "To be, or not to be"
  tinyllm tokenizer encode book.json "the end<|endoftext|>" --allow-special "<|endoftext|>"
"""
DECODE_EXAMPLE = """example:
  tinyllm tokenizer decode book.json 84 111 32 98 101
  echo "84 111 32 98 101" | tinyllm tokenizer decode book.json
"""


def add_parser(subparsers):
    """Add `tinyllm tokenizer` and its three commands."""
    parser = add_command(subparsers, "tokenizer", "train a tokenizer, encode and decode with it", EXAMPLE)
    parser.set_defaults(run=lambda args: parser.print_help())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    train = add_command(commands, "train", "learn a byte-level BPE vocabulary from text", TRAIN_EXAMPLE)
    train.add_argument("file", metavar="FILE", help="a file, folder, glob, .gz, - or the name of a corpus")
    train.add_argument("--vocab", type=int, required=True, metavar="N", help="how many tokens to have")
    train.add_argument("--out", required=True, metavar="PATH", help="the JSON file to write")
    train.add_argument("--pattern", default="gpt2",
                       help="where text is cut: gpt2 (default), gpt4, o200k or a regex")
    names = {"nargs": "+", "action": "extend", "default": [], "metavar": "NAME"}
    train.add_argument("--special", **names, help="special tokens to add, such as \"<|endoftext|>\"")
    train.add_argument("--overwrite", action="store_true", help="replace PATH if it is there")
    train.add_argument("--json", action="store_true", help="print the result as JSON")
    train.set_defaults(run=run_train)

    encode = add_command(commands, "encode", "turn text into token ids", ENCODE_EXAMPLE)
    encode.add_argument("path", metavar="PATH", help="a tokenizer file")
    encode.add_argument("text", metavar="TEXT", nargs="?", help="the text; - or nothing reads standard input")
    encode.add_argument("--file", metavar="F", help="read the text from a file")
    allow = 'parse these special tokens, or "all"; otherwise a text that spells one is ordinary text'
    encode.add_argument("--allow-special", **names, help=allow)
    encode.add_argument("--json", action="store_true", help="print ids and counts as JSON")
    encode.set_defaults(run=run_encode)

    decode = add_command(commands, "decode", "turn token ids into text, byte for byte", DECODE_EXAMPLE)
    decode.add_argument("path", metavar="PATH", help="a tokenizer file")
    decode.add_argument("ids", metavar="ID", nargs="*", help="token ids; - or nothing reads standard input")
    decode.set_defaults(run=run_decode)


def run_train(args):
    """Train on a corpus, save, and say how well the vocabulary fits that corpus."""
    from tinyllm.data import load_corpus  # here: encode and decode start faster without the corpora

    out = Path(args.out)
    if out.exists() and not args.overwrite:
        raise UserError(f"{out} is already there; choose another --out, or add --overwrite")
    if not out.absolute().parent.is_dir():  # now, not after a long training
        raise UserError(f"cannot write {out}: there is no folder {out.parent}; make it first")
    corpus = load_corpus(args.file)
    start = time.perf_counter()
    with tqdm(desc="merges", unit="", file=sys.stderr, disable=None, leave=False) as bar:
        progress = _advance(bar)
        tokenizer = BPETokenizer.train(corpus.data, args.vocab, args.pattern, args.special, progress)
    seconds = time.perf_counter() - start
    tokenizer.save(out)
    n_tokens = tokenizer.encode_to_numpy(corpus.data).size
    n_bytes, size = len(corpus.data), tokenizer.vocab_size
    if args.json:
        facts = {"path": str(out), "vocab_size": size, "fingerprint": tokenizer.fingerprint()}
        facts |= {"corpus": corpus.name, "corpus_bytes": n_bytes, "corpus_tokens": n_tokens}
        print(json.dumps(facts | {"seconds": round(seconds, 3)}))
        return
    if size < args.vocab:
        print(f"{corpus.name} has no more pairs to merge, so there are fewer tokens than {args.vocab:,}")
    print(f"learnt {size:,} tokens from {n_bytes:,} bytes in {seconds:.1f} s; saved to {out}")
    print(f"the text is {n_tokens:,} tokens long, {n_bytes / max(n_tokens, 1):.2f} bytes each")


def _advance(bar):
    """A progress callback that moves a tqdm bar."""

    def progress(done, total):
        bar.total = total
        bar.update(done - bar.n)

    return progress


def run_encode(args):
    """Print the ids of a text."""
    tokenizer = load_tokenizer(args.path)
    data = _text_to_encode(args)
    allowed = "all" if args.allow_special == ["all"] else args.allow_special
    ids = tokenizer.encode(data, allowed_special=allowed)
    if args.json:
        print(json.dumps({"ids": ids, "tokens": len(ids), "bytes": len(data)}))
    else:
        print(*ids)


def _text_to_encode(args):
    """The bytes that the user means: an argument, a file, or standard input."""
    if args.file is not None and args.text is not None:
        raise UserError("give a TEXT or --file, not both")
    if args.file in (None, "-") and args.text in (None, "-"):
        return sys.stdin.buffer.read()
    if args.file is None:
        return os.fsencode(args.text)  # the bytes as typed, UTF-8 or not
    try:
        return Path(args.file).read_bytes()
    except OSError as e:
        raise UserError(f"cannot read {args.file}: {e.strerror or e}") from None


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
