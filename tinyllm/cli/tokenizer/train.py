"""`tinyllm tokenizer train`: learn a vocabulary from a text, and watch how."""

import json
import sys
import time

from tqdm import tqdm

from tinyllm.cli import add_command
from tinyllm.cli.tokenizer.opening import free_path
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
    from tinyllm.data import load_corpus  # here: encode and decode start faster without the corpora

    if args.watch and args.json:
        raise UserError("--watch is for people and --json for programs: choose one")
    out = free_path(args.out, args.overwrite)
    template = CHAT_TEMPLATES.get(args.chat)
    needed = template.special_tokens if template else []
    special = args.special + [name for name in needed if name not in args.special]
    corpus = load_corpus(args.file)
    start = time.perf_counter()
    if args.watch:
        with watcher(args.vocab - 256 - len(special)) as show:
            tokenizer = BPETokenizer.train(corpus.data, args.vocab, args.pattern, special, on_merge=show)
    else:
        with tqdm(desc="merges", unit="", file=sys.stderr, disable=None, leave=False) as bar:
            tokenizer = BPETokenizer.train(corpus.data, args.vocab, args.pattern, special, _advance(bar))
    seconds = time.perf_counter() - start
    tokenizer.chat = template
    tokenizer.save(out)
    _conclude(args, out, corpus, tokenizer, seconds)


def _conclude(args, out, corpus, tokenizer, seconds):
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
