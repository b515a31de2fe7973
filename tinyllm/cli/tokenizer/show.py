"""Implement `tinyllm tokenizer show`, which shows the tokens of a text in colours."""

from json import dumps
from shutil import get_terminal_size
from typing import Any

from tinyllm.cli.command import command
from tinyllm.cli.text import note_ignored
from tinyllm.cli.tokenizer import token_table
from tinyllm.cli.tokenizer.args import allowed_special, text_of
from tinyllm.report.terminal import has_colours
from tinyllm.tokenizer import load_tokenizer, make_tokenizer

MOST = 2**20  # bytes of a text: a table takes hundreds of bytes of memory for each token


@command("tokenizer show")
def show(text: str | None = None, *, file: str | None = None, tokenizer: str = "bpe:4096",
         allow_special: list[str] | None = None, json: bool = False) -> None:
    """Show the tokens of a text in colours, with their ids.

    A space is shown as ·, an end of line as ↵, a tab as →; bytes that are not text as \\xff.

    TEXT                      the text; if it is - or left out, standard input is read
    --file F                  read the text from a file
    --tokenizer PATH          a file, a folder with one, byte, char, or bpe:N (learnt from the corpus pydocs)
    --allow-special NAME ...  recognize these special tokens, or "all"; others are ordinary text
    --json                    print id, text and position of each token as JSON

    example:
      tinyllm tokenizer show "Once upon a time"
      tinyllm tokenizer show "naïve 😀 你好" --tokenizer byte
      tinyllm tokenizer show --file story.txt --tokenizer runs/stories-laptop | head
      tinyllm tokenizer show "a<|end|>" --tokenizer book.json --allow-special all
    """
    data = text_of(text, file, MOST)
    found, name = _tokenizer(tokenizer, data)
    allowed = allowed_special(allow_special)
    ids = found.encode(data, allowed)
    tokens = [found.decode_bytes([i]) for i in ids]
    if json:
        places = found.offsets(data, allowed)
        print(dumps([
            {"id": i, "text": token.decode("utf-8", "backslashreplace"), "start": start, "end": end}
            for i, token, (start, end) in zip(ids, tokens, places, strict=True)
        ], ensure_ascii=False))
        return
    special = set(found.special_tokens.values())
    cells = (
        token_table.TokenCell(token_table.visible(token), str(i), i in special, token.endswith(b"\n"))
        for i, token in zip(ids, tokens, strict=True)
    )
    for line in token_table.rows(cells, max(20, get_terminal_size()[0]), has_colours()):
        print(line)
    each = f", {len(data) / len(ids):.2f} bytes each" if ids else ""
    print(f"{len(ids):,} tokens, {len(data):,} bytes{each} ({name}, {found.vocab_size:,} tokens)")


def _tokenizer(spec: str, data: bytes) -> tuple[Any, str]:
    """Return the tokenizer that the user means, and its name."""
    if spec == "char":
        return make_tokenizer(spec, data), "the characters of this text"
    if spec != "byte" and spec.partition(":")[0] != "bpe":
        return note_ignored(load_tokenizer(spec)), spec
    from tinyllm.data import load_corpus  # here, because a tokenizer file needs none

    corpus = load_corpus("pydocs")
    return make_tokenizer(spec, corpus.data), "bytes" if spec == "byte" else f"{spec} of {corpus.name}"
