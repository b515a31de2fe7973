"""`tinyllm tokenizer report`: compare several vocabularies on several texts."""

import os
from json import dumps

from tinyllm.cli.command import command
from tinyllm.cli.tokenizer import token_table
from tinyllm.errors import UserError
from tinyllm.tokenizer import ByteTokenizer, load_tokenizer
from tinyllm.tokenizer.measure import measure

HEAD = f"{'tokenizer':19} {'corpus':14} {'bytes':>12} {'tokens':>11} {'each':>5} {'in use':>6} {'whole':>6}"


@command("tokenizer report")
def report(paths: list[str], *, on: list[str], json: bool = False) -> None:
    """Compare vocabularies on texts.

    PATHS            tokenizer files, folders with one, or byte
    --on CORPUS ...  files, folders, globs, .gz, or names of corpora
    --json           print one JSON object per line

    example:
      tinyllm tokenizer report small.json large.json --on stories pydocs book.txt
      tinyllm tokenizer report byte book.json --on book.txt --json

      each     bytes per token: the more, the longer the text that a context holds
      in use   the share of the vocabulary that occurs; the rest is never learnt
      whole    the share of pieces (words, more or less) that are one token
    """
    from tinyllm.data import load_corpus

    tokenizers = {path: ByteTokenizer() if path == "byte" else load_tokenizer(path) for path in paths}
    corpora = [load_corpus(name) for name in dict.fromkeys(on)]
    if not json:
        print(HEAD)
    for path, tokenizer in tokenizers.items():
        longest: set[bytes] = set()
        for corpus in corpora:
            try:
                facts = measure(tokenizer, corpus.data)
            except UserError as error:  # such as a character that a char tokenizer does not know
                facts = {"error": str(error), "longest": []}
            longest.update(facts["longest"])
            if json:
                facts["longest"] = [token.decode("utf-8", "backslashreplace") for token in facts["longest"]]
                print(dumps({"tokenizer": path, "corpus": corpus.name} | facts), flush=True)
            else:
                print(_line(path, corpus.name, facts), flush=True)
        if max(map(len, longest), default=0) > 1 and not json:
            print(_longest(longest))


def _line(path: str, corpus: str, facts: dict) -> str:
    """Write one tokenizer on one corpus, in 80 columns. A long path or name loses its beginning."""
    name = f"{_end(path, 19)} {_end(os.path.basename(corpus) or corpus, 14)}"
    if "error" in facts:
        return f"{name} {facts['error']}"
    each = f"{facts['bytes_per_token']:.2f}" if facts["tokens"] else "-"
    shares = " ".join(f"{'-' if share is None else f'{100 * share:.1f}%':>6}"
                      for share in (facts["coverage"], facts["whole_pieces"]))  # fmt: skip
    return f"{name} {facts['bytes']:>12,} {facts['tokens']:>11,} {each:>5} {shares}"


def _end(text: str, room: int) -> str:
    return text.ljust(room) if len(text) <= room else ".." + text[-(room - 2) :]


def _longest(tokens: set[bytes]) -> str:
    """Write the longest tokens that occur anywhere, as many as fit a line."""
    line = "  longest:"
    for token in sorted(tokens, key=lambda token: (-len(token), token)):
        more = f" |{token_table.fit(token_table.visible(token), 30)}| {len(token)}"
        if token_table.width(line + more) > 80:
            break
        line += more
    return line
