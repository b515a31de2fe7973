"""Implement `tinyllm data`, which lists, shows and measures texts to learn from."""

import sys
from collections import Counter
from dataclasses import fields, replace
from itertools import islice

from tinyllm.cli.command import command
from tinyllm.config import check
from tinyllm.data import SOURCES, load_corpus
from tinyllm.errors import UserError
from tinyllm.report.terminal import entry
from tinyllm.rng import Random
from tinyllm.world import KINDS
from tinyllm.world.corpus import PREFIX, describe, read_name


@command("data list")
def list_corpora() -> None:
    """List the corpora that have names, and the kinds of generated text.

    example:
      tinyllm data list
    """
    for name, (description, *_) in SOURCES.items():
        print(entry(f"{name:<24} ", description))
    print("\ntexts of the world, endless; `tinyllm data show NAME` shows some, with their dials")
    for name in ("mix", *sorted(KINDS, key=lambda name: KINDS[name].group)):
        print(entry(f"{PREFIX + name:<24} ", describe(name)))


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


@command("data stats")
def stats(name: str) -> None:
    """Measure how varied a text is, and how predictable.

    Distinct trigrams are the different word triples as a share of all; the most frequent opening is the share
    of documents that begin with the most frequent four words. The entropy of a generated text is the lowest
    loss per character that is possible.

    NAME  a corpus, file, folder, pattern, .gz or -

    example:
      tinyllm data stats stories
    """
    corpus = load_corpus(name)
    text = corpus.text()
    words = text.split()
    trigrams = set(zip(words, words[1:], words[2:], strict=False))
    texts = text.split(corpus.separator.decode()) if corpus.separator else []
    openings = Counter(" ".join(document.split()[:4]) for document in texts if document)
    print(f"characters                {len(text):,}")
    print(f"distinct trigrams         {100 * len(trigrams) / max(1, len(words) - 2):.1f} %")
    if documents := sum(openings.values()):
        print(f"documents                 {documents:,}")
        print(f"most frequent opening     {100 * max(openings.values()) / documents:.1f} %")
    if (nats := corpus.entropy_per_char) is not None:
        print(f"entropy per char          {nats:.4f} nats")
