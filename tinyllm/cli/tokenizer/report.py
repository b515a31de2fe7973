"""`tinyllm tokenizer report`: several vocabularies on several texts, side by side."""

import json
import os

from tinyllm.cli import add_command
from tinyllm.cli.tokenizer import cells
from tinyllm.errors import UserError
from tinyllm.tokenizer import ByteTokenizer, load_tokenizer
from tinyllm.tokenizer.measure import measure

EXAMPLE = """example:
  tinyllm tokenizer report small.json large.json --on stories pydocs book.txt
  tinyllm tokenizer report byte book.json --on book.txt --json

  each     bytes per token: the more, the longer the text that a context holds
  in use   the share of the vocabulary that occurs; the rest is never learnt
  whole    the share of pieces (words, more or less) that are one token
"""
HEAD = f"{'tokenizer':19} {'corpus':14} {'bytes':>12} {'tokens':>11} {'each':>5} {'in use':>6} {'whole':>6}"


def add_parsers(commands):
    """Add `tinyllm tokenizer report`."""
    parser = add_command(commands, "report", "compare vocabularies on texts", EXAMPLE)
    tokenizers = "tokenizer files, folders with one, or byte"
    parser.add_argument("paths", metavar="PATH", nargs="+", help=tokenizers)
    corpora = "files, folders, globs, .gz, or names of corpora"
    parser.add_argument("--on", metavar="CORPUS", nargs="+", action="extend", required=True, help=corpora)
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.set_defaults(run=run_report)


def run_report(args):
    """Print a line for every tokenizer on every corpus, and the longest tokens of each."""
    from tinyllm.data import load_corpus

    tokenizers = {path: ByteTokenizer() if path == "byte" else load_tokenizer(path) for path in args.paths}
    corpora = [load_corpus(name) for name in dict.fromkeys(args.on)]
    if not args.json:
        print(HEAD)
    for path, tokenizer in tokenizers.items():
        longest = set()
        for corpus in corpora:
            facts = _measure(tokenizer, corpus)
            longest.update(facts.get("longest", ()))
            if args.json:
                print(json.dumps({"tokenizer": path, "corpus": corpus.name} | _as_json(facts)), flush=True)
            else:
                print(_line(path, corpus.name, facts), flush=True)
        if max(map(len, longest), default=0) > 1 and not args.json:
            print(_longest(longest))


def _measure(tokenizer, corpus):
    try:
        return measure(tokenizer, corpus.data)
    except UserError as error:  # such as a character that a char tokenizer does not know
        return {"error": str(error)}


def _as_json(facts):
    if "longest" not in facts:
        return facts
    return facts | {"longest": [token.decode("utf-8", "backslashreplace") for token in facts["longest"]]}


def _line(path, corpus, facts):
    """One tokenizer on one corpus, in 80 columns. Of a path or name that is too long, the end says more."""
    name = f"{_end(path, 19)} {_end(os.path.basename(corpus) or corpus, 14)}"
    if "error" in facts:
        return f"{name} {facts['error']}"
    each = f"{facts['bytes_per_token']:.2f}" if facts["tokens"] else "-"
    size = f"{facts['bytes']:>12,} {facts['tokens']:>11,}"
    return f"{name} {size} {each:>5} {_percent(facts['coverage']):>6} {_percent(facts['whole_pieces']):>6}"


def _end(text, room):
    return text.ljust(room) if len(text) <= room else ".." + text[-(room - 2) :]


def _percent(share):
    return "-" if share is None else f"{100 * share:.1f}%"


def _longest(tokens):
    """The longest tokens that occur anywhere, as many as fit a line."""
    line = "  longest:"
    for token in sorted(tokens, key=lambda token: (-len(token), token)):
        more = f" |{cells.fit(cells.visible(token), 30)}| {len(token)}"
        if cells.width(line + more) > 80:
            break
        line += more
    return line
