"""Implement `tinyllm tokenizer report`, which compares several vocabularies on several texts."""

import os
from json import dumps

from tinyllm.cli.command import command
from tinyllm.cli.text import note_ignored, paragraph
from tinyllm.cli.tokenizer import token_table
from tinyllm.errors import UserError
from tinyllm.report.terminal import table
from tinyllm.tokenizer import ByteTokenizer, load_tokenizer
from tinyllm.tokenizer.measure import measure

HEAD = ["tokenizer", "corpus", "bytes", "tokens", "each", "in use", "whole"]


@command("tokenizer report")
def report(paths: list[str], *, on: list[str], json: bool = False) -> None:
    """Compare vocabularies on texts.

    PATHS            tokenizer files, folders that contain one, or byte
    --on CORPUS ...  files, folders, globs, .gz, or names of corpora
    --json           print one JSON object per line

    example:
      tinyllm tokenizer report small.json large.json --on stories pydocs book.txt
      tinyllm tokenizer report byte book.json --on book.txt --json

      each     bytes per token: with more, more text fits into a context
      in use   the share of the vocabulary that occurs; the rest is never learnt
      whole    the share of pieces (roughly words) that are one token
    """
    from tinyllm.data import load_corpus

    tokenizers = {path: ByteTokenizer() if path == "byte" else note_ignored(load_tokenizer(path))
                  for path in paths}  # fmt: skip
    corpora = [load_corpus(name) for name in dict.fromkeys(on)]
    rows, notes = [], []
    for path, tokenizer in tokenizers.items():
        longest: set[bytes] = set()
        for corpus in corpora:
            try:
                facts = measure(tokenizer, corpus.data)
            except UserError as error:  # such as a character that a char tokenizer does not know
                facts = {"error": str(error), "longest": []}
                notes.append(f"{path} on {corpus.name}: {error}")
            longest.update(facts["longest"])
            facts["longest"] = [token.decode("utf-8", "backslashreplace") for token in facts["longest"]]
            if json:
                print(dumps({"tokenizer": path, "corpus": corpus.name} | facts), flush=True)
            elif "error" not in facts:
                name = os.path.basename(corpus.name) or corpus.name
                rows.append([_end(path, 19), _end(name, 14), *_cells(facts)])
        if max(map(len, longest), default=0) > 1:
            best = sorted(longest, key=lambda token: (-len(token), token))[:8]
            shown = " ".join(f"|{token_table.fit(token_table.visible(token), 30)}|" for token in best)
            notes.append(f"longest of {path}: {shown}")
    if not json:
        print("\n".join([*table(HEAD, rows, "<<>>>>>"), *map(paragraph, notes)]))


def _cells(facts: dict) -> list[str]:
    each = f"{facts['bytes_per_token']:.2f}" if facts["tokens"] else "-"
    shares = (facts["coverage"], facts["whole_pieces"])
    return [f"{facts['bytes']:,}", f"{facts['tokens']:,}", each,
            *("-" if share is None else f"{100 * share:.1f}%" for share in shares)]  # fmt: skip


def _end(text: str, room: int) -> str:
    """Return the end of a name that is too long for its column."""
    return text if len(text) <= room else ".." + text[2 - room :]
