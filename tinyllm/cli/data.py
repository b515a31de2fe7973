"""`tinyllm data list | show | stats`: the texts to learn from, and how predictable they are."""

import math
import sys
import zlib
from collections import Counter
from json import dumps

from tinyllm.cli.command import command, group
from tinyllm.cli.text import entry
from tinyllm.data import SOURCES, Corpus, load_corpus
from tinyllm.data.sources import load_stories
from tinyllm.errors import UserError
from tinyllm.rng import Random

group("data", """
    example:
      tinyllm data list
      tinyllm data show stories --n 2000 --seed 1
      tinyllm data stats book.txt --json

    NAME is a corpus that `tinyllm data list` shows, a file, a "*.txt" pattern, a folder, a .gz file, or - for
    standard input.
""")


@command("data list")
def list_corpora(*, json: bool = False) -> None:
    """List the corpora that have names.

    Each line has name, size and SHA-256; for a corpus that is not available it says what to do.

    --json  print JSON

    example:
      tinyllm data list --json
    """
    rows: list[dict] = []
    for name, source in SOURCES.items():
        try:
            corpus = load_corpus(name)
        except UserError as error:
            rows.append({"name": name, "error": str(error)})
            continue
        facts = {"bytes": len(corpus.data), "sha256": corpus.sha256, "description": source.description}
        rows.append({"name": name} | facts)
    if json:
        print(dumps(rows))
        return
    print(f"{'name':<12} {'bytes':>11}  {'sha256':<12}  what")
    for row in rows:
        if "error" in row:
            head, what = f"{row['name']:<12} {'-':>11}  {'-':<12}  ", row["error"]
        else:
            head, what = f"{row['name']:<12} {row['bytes']:>11,}  {row['sha256'][:12]}  ", row["description"]
        print(entry(head, what))


@command("data show")
def show(name: str, *, n: int = 1500, seed: int | None = None) -> None:
    """Print the beginning of a text, or a passage from it.

    NAME       a corpus, file, folder, pattern, .gz or -
    --n CHARS  how much to print
    --seed S   print another passage, chosen by this number

    example:
      tinyllm data show stories --seed 7      other stories than those of the corpus
      tinyllm data show book.txt --seed 7     a passage from somewhere in the middle
    """
    if n < 1:
        raise UserError(f"--n must be at least 1, got {n}")
    corpus = load_corpus(name)
    text, start = None, 0
    if seed is not None and corpus.world:
        text = load_stories(seed).decode()
        corpus = Corpus(f"{corpus.name} with seed {seed}", text.encode(), corpus.description)
    elif seed is not None:
        text = corpus.text()
        start = Random(seed, "show").integers(max(1, len(text) - n + 1))
    text = text or corpus.text()
    size = f"{len(corpus.data):,} bytes, SHA-256 {corpus.sha256}"
    print(f"{corpus.name}: {size}, from character {start:,}", file=sys.stderr)
    print(text[start : start + n].rstrip("\n"))


@command("data stats")
def stats(name: str, *, json: bool = False) -> None:
    """Measure a text: its size and characters, and three measures of how predictable it is.

    NAME    a corpus, file, folder, pattern, .gz or -
    --json  print JSON

    example:
      tinyllm data stats stories
      tinyllm data stats stdlib-code --json
    """
    facts = measure(load_corpus(name))
    if json:
        print(dumps(facts))
        return
    for fact, value in facts.items():
        if value is None:
            continue
        if fact.endswith("per_char"):
            value = f"{value:.4f} nats = {value / math.log(2):.4f} bits"
        elif isinstance(value, bool):
            value = "yes" if value else "no: bytes are counted as characters; use --tokenizer byte"
        elif isinstance(value, int):
            value = f"{value:,}"
        print(entry(f"{fact.replace('_', ' '):<25} ", value))


def measure(corpus: Corpus) -> dict:
    """Measure a corpus -> {name: value}. In data that is not text, each byte counts as a character.

    unigram: the loss of a model that knows only how frequent each character is. gzip: the size after
    compression, as a loss. entropy: the exact lower bound, for a generated corpus.
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
