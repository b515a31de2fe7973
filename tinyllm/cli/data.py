"""`tinyllm data list | show | stats`: what there is to learn from, and how hard it is to learn."""

import json
import math
import sys
import zlib
from collections import Counter

from tinyllm.cli import add_command
from tinyllm.cli.progress import entry
from tinyllm.data import SOURCES, Corpus, load_corpus
from tinyllm.data.sources import load_stories
from tinyllm.errors import UserError
from tinyllm.rng import Random

EXAMPLE = """example:
  tinyllm data list
  tinyllm data show stories --n 2000 --seed 1
  tinyllm data stats book.txt --json

NAME is a corpus that `tinyllm data list` shows, a file, a "*.txt" pattern, a folder, a .gz file, or - for
standard input.
"""
LIST_EXAMPLE = """example:
  tinyllm data list --json
"""
SHOW_EXAMPLE = """example:
  tinyllm data show stories --seed 7      other stories than those of the corpus
  tinyllm data show book.txt --seed 7     a passage from somewhere in the middle
"""
STATS_EXAMPLE = """example:
  tinyllm data stats stories
  tinyllm data stats stdlib-code --json
"""


def add_parser(subparsers):
    """Add `tinyllm data` and its three commands."""
    parser = add_command(subparsers, "data", "list, show and measure texts", EXAMPLE)
    parser.set_defaults(run=lambda args: parser.print_help())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    listing = add_command(commands, "list", "list the corpora that have names", LIST_EXAMPLE)
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=run_list)

    show = add_command(commands, "show", "print the beginning of a text, or a passage from it", SHOW_EXAMPLE)
    show.add_argument("name", metavar="NAME", help="a corpus, file, folder, pattern, .gz or -")
    show.add_argument("--n", type=int, default=1500, metavar="CHARS", help="how much to print (default 1500)")
    show.add_argument("--seed", type=int, metavar="S", help="print another passage, chosen by this number")
    show.set_defaults(run=run_show)

    stats = add_command(commands, "stats", "measure a text", STATS_EXAMPLE)
    stats.add_argument("name", metavar="NAME", help="a corpus, file, folder, pattern, .gz or -")
    stats.add_argument("--json", action="store_true", help="print JSON")
    stats.set_defaults(run=run_stats)


def run_list(args):
    """Print name, size and SHA-256 of every named corpus; one that cannot be had says what to do."""
    rows = []
    for name, source in SOURCES.items():
        try:
            corpus = load_corpus(name)
        except UserError as error:
            rows.append({"name": name, "error": str(error)})
            continue
        facts = {"bytes": len(corpus.data), "sha256": corpus.sha256, "description": source.description}
        rows.append({"name": name} | facts)
    if args.json:
        print(json.dumps(rows))
        return
    print(f"{'name':<12} {'bytes':>11}  {'sha256':<12}  what")
    for row in rows:
        if "error" in row:
            head, what = f"{row['name']:<12} {'-':>11}  {'-':<12}  ", row["error"]
        else:
            head, what = f"{row['name']:<12} {row['bytes']:>11,}  {row['sha256'][:12]}  ", row["description"]
        print(entry(head, what))


def run_show(args):
    """Print a passage, and to stderr where it is from, so that the text itself can be piped on."""
    if args.n < 1:
        raise UserError(f"--n must be at least 1, got {args.n}")
    corpus = load_corpus(args.name)
    text, start = None, 0
    if args.seed is not None and corpus.world:
        text = load_stories(args.seed).decode()
        corpus = Corpus(f"{corpus.name} with seed {args.seed}", text.encode(), corpus.description)
    elif args.seed is not None:
        text = corpus.text()
        start = Random(args.seed, "show").integers(max(1, len(text) - args.n + 1))
    text = text or corpus.text()
    size = f"{len(corpus.data):,} bytes, SHA-256 {corpus.sha256}"
    print(f"{corpus.name}: {size}, from character {start:,}", file=sys.stderr)
    print(text[start : start + args.n].rstrip("\n"))


def run_stats(args):
    """Print what can be counted, and three measures of how predictable the text is."""
    facts = measure(load_corpus(args.name))
    if args.json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        if value is None:
            continue
        if name.endswith("per_char"):
            value = f"{value:.4f} nats = {value / math.log(2):.4f} bits"
        elif isinstance(value, bool):
            value = "yes" if value else "no: bytes are counted as characters; use --tokenizer byte"
        elif isinstance(value, int):
            value = f"{value:,}"
        print(entry(f"{name.replace('_', ' '):<25} ", value))


def measure(corpus):
    """Measure a corpus -> dict. Of data that is no text, each byte counts as a character.

    unigram: the loss of a model that knows how frequent each character is and nothing else. gzip: what a
    general compressor needs, as a loss. entropy: the exact floor, where the corpus is of a known world.
    """
    try:
        text, is_text = corpus.text(), True
    except UserError:
        if not corpus.data:  # tokens
            raise
        text, is_text = corpus.data.decode("latin-1"), False
    counts = Counter(text).values()
    unigram = -math.fsum(n / len(text) * math.log(n / len(text)) for n in counts)
    packed = len(zlib.compress(corpus.data, 9))
    return {
        "name": corpus.name,
        "description": corpus.description,
        "bytes": len(corpus.data),
        "sha256": corpus.sha256,
        "utf8_text": is_text,
        "characters": len(text),
        "lines": text.count("\n") + (not text.endswith("\n")),
        "distinct_characters": len(counts),
        "unigram_entropy_per_char": unigram,
        "gzip_per_char": packed * 8 * math.log(2) / len(text),
        "entropy_per_char": corpus.entropy_per_char,
    }
