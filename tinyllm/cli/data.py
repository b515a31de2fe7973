"""Implement `tinyllm data`, which lists, shows, measures and makes texts to learn from."""

import hashlib
import math
import sys
import zlib
from collections import Counter
from dataclasses import fields, replace
from itertools import islice
from json import dumps
from pathlib import Path

from tinyllm.cli.command import command, group
from tinyllm.config import check
from tinyllm.data import SOURCES, Corpus, load_corpus
from tinyllm.errors import UserError
from tinyllm.files import atomic_write, atomic_write_text
from tinyllm.report.terminal import entry
from tinyllm.rng import Random
from tinyllm.world import KINDS
from tinyllm.world.corpus import PREFIX, SEPARATOR, Named, describe, dials_of, read_name

group("data", """
    example:
      tinyllm data list
      tinyllm data show stories --n 2000 --seed 1
      tinyllm data stats book.txt --json

    NAME is a corpus or a kind of text of the world that `tinyllm data list` shows, a file, a "*.txt" pattern,
    a folder, a .gz file, or - for standard input.
""")


@command("data list")
def list_corpora(*, json: bool = False) -> None:
    """List the corpora that have names, and the kinds of generated text.

    Each line has name, size and SHA-256, or what to do if the corpus is not available.

    --json  print JSON, with the dials (settings) of each kind

    example:
      tinyllm data list --json
    """
    rows: list[dict] = []
    for name, source in SOURCES.items():
        try:
            corpus = load_corpus(name)
            about = {"bytes": corpus.size, "sha256": corpus.sha256, "description": source.description}
        except UserError as error:
            about = {"error": str(error)}
        rows.append({"name": name} | about)
    kinds = [{"name": PREFIX + name, "description": describe(name),
              "dials": {field.name: field.default for field in fields(dials_of(name))}}
             for name in ("mix", *sorted(KINDS, key=lambda name: KINDS[name].group))]
    if json:
        print(dumps([*rows, *kinds]))
        return
    for row in rows:
        size = f"{row['bytes']:,} bytes, SHA-256 {row['sha256'][:12]}: " if "bytes" in row else ""
        print(entry(f"{row['name']:<24} ", size + (row.get("error") or row["description"])))
    print("\ntexts of the world, endless; `tinyllm data show NAME` shows some, with their dials")
    for row in kinds:
        print(entry(f"{row['name']:<24} ", row["description"]))


@command("data show")
def show(name: str, *, n: int | None = None, seed: int | None = None) -> None:
    """Print the beginning or a passage of a text, or documents of a generated kind.

    NAME      a corpus, file, folder, pattern, .gz or -, or a kind such as world:question,hops=2
    --n N     how many characters to print (1500), or how many documents (5)
    --seed S  print another passage, or other documents, chosen by this number

    example:
      tinyllm data show book.txt --seed 7     a passage from somewhere in the middle
      tinyllm data show world:stories --n 2
    """
    if n is not None and n < 1:
        raise UserError(f"--n must be at least 1, got {n}")
    if name.startswith(PREFIX):
        show_documents(name, n or 5, seed)
        return
    n, corpus = n or 1500, load_corpus(name)
    text = corpus.text()
    start = 0 if seed is None else Random(seed, "show").integers(max(1, len(text) - n + 1))
    size = f"{corpus.size:,} bytes, SHA-256 {corpus.sha256}"
    print(f"{corpus.name}: {size}, from character {start:,}", file=sys.stderr)
    print(text[start : start + n].rstrip("\n"))


def show_documents(name: str, n: int, seed: int | None) -> None:
    """Print generated documents with blank lines between them, and their settings to standard error."""
    named = read_name(name)
    given = named.options if seed is None else replace(named.options, seed=seed)
    named = replace(named, options=replace(given, n=max(n, given.n)))
    check(named.options, f"{name}: ")
    print(entry(f"{name}: ", describe(named.name)), file=sys.stderr)
    for field in fields(named.dials):
        dial = f"  {field.name}={getattr(named.dials, field.name)}  "
        print(entry(dial, field.metadata["help"]), file=sys.stderr)
    print("\n\n".join(document.text for document in islice(named.documents(), n)))


@command("data make")
def make(name: str, *, mb: float = 10.0, out: str) -> None:
    """Write generated text to a folder: training and test text, and all that is known of each document.

    NAME       a kind such as world:mix, with its dials (settings)
    --mb SIZE  megabytes of the training text; the test text has a tenth as many
    --out DIR  a new folder for train.txt, test.txt, train.jsonl, test.jsonl and about.json

    example:
      tinyllm data make world:mix --mb 50 --out corpus
    """
    if not name.startswith(PREFIX):
        raise UserError(f"{name} is not a text of the world; `tinyllm data list` shows them")
    if not 0 < mb <= 2000:
        raise UserError(f"--mb must be above 0 and at most 2000, got {mb}")
    folder, named = Path(out), read_name(name)
    if folder.exists() and (not folder.is_dir() or any(folder.glob("[!.]*"))):
        raise UserError(f"{out} exists; choose another folder for the corpus")
    folder.mkdir(parents=True, exist_ok=True)
    about = {split: write_split(named, split, share, folder)
             for split, share in (("train", mb), ("test", mb / 10))}
    atomic_write_text(folder / "about.json", dumps({"name": name, **about}, indent=2) + "\n")
    for split, facts in about.items():
        size = f"{facts['documents']:,} documents, {facts['bytes']:,} bytes"
        print(f"{split}: {size}, SHA-256 {facts['sha256']}")


def write_split(named: Named, split: str, mb: float, folder: Path) -> dict:
    """Write `mb` megabytes of documents of one split; return their number, bytes and SHA-256."""
    few = replace(named, options=replace(named.options, split=split, n=max(100, named.options.n)))
    lengths = [len(document.text) + len(SEPARATOR) for document in islice(few.documents(), 100)]
    enough = int(mb * 1e6 / (sum(lengths) / len(lengths)) * 1.5) + 100  # a mix is made for a number of them
    wanted = replace(few, options=replace(few.options, n=min(10_000_000, enough)))
    size, count, digest = 0, 0, hashlib.sha256()
    text_file, line_file = folder / f"{split}.txt", folder / f"{split}.jsonl"
    with atomic_write(text_file, "wb") as text, atomic_write(line_file) as lines:
        for document in wanted.documents():
            data = (document.text + SEPARATOR).encode("ascii")
            text.write(data)
            lines.write(dumps(vars(document) | {"answer": document.answer.lstrip()}) + "\n")
            digest.update(data)
            size, count = size + len(data), count + 1
            if size >= mb * 1e6:
                break
    return {"documents": count, "bytes": size, "sha256": digest.hexdigest()}


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
    facts["utf8_text"] = "yes" if facts["utf8_text"] else "no; use --tokenizer byte"
    for fact, value in facts.items():
        if fact.endswith("per_char") and value is not None:
            value = f"{value:.4f} nats = {value / math.log(2):.4f} bits"
        elif isinstance(value, float):
            value = f"{100 * value:.1f} %"
        elif isinstance(value, int):
            value = f"{value:,}"
        if value is not None:
            print(entry(f"{fact.replace('_', ' '):<25} ", value))


def measure(corpus: Corpus) -> dict:
    """Measure a corpus, and return {name: value}. In data that is not text, each byte counts as a character.

    unigram: the loss of a model that knows only how frequent each character is. gzip: the size after
    compression, as a loss. entropy: the exact lower bound of the loss, for a generated corpus. distinct
    trigrams: the number of different word triples divided by all triples. most frequent opening: the share of
    documents that begin with the most frequent four words.
    """
    try:
        text, is_text = corpus.text(), True
    except UserError:
        if not corpus.data:  # tokens
            raise
        text, is_text = corpus.data.decode("latin-1"), False
    counts, words = Counter(text).values(), text.split()
    texts = text.split(corpus.separator.decode()) if corpus.separator else []
    openings = Counter(" ".join(document.split()[:4]) for document in texts if document)
    trigrams = len(set(zip(words, words[1:], words[2:], strict=False)))
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
        "distinct_words": len(set(words)),
        "distinct_trigrams": trigrams / max(1, len(words) - 2),
        "documents": sum(openings.values()) or None,
        "most_frequent_opening": max(openings.values()) / sum(openings.values()) if openings else None,
        "unigram_entropy_per_char": -math.fsum(n / len(text) * math.log(n / len(text)) for n in counts),
        "gzip_per_char": packed * 8 * math.log(2) / len(text),
        "entropy_per_char": corpus.entropy_per_char,
    }
