"""Implement `tinyllm tokenizer train`, which learns a vocabulary from a text."""

import io
import os
import time
from contextlib import AbstractContextManager
from json import dumps
from pathlib import Path
from typing import Any, BinaryIO, Literal

from tinyllm.cli.command import command
from tinyllm.cli.tokenizer.args import free_path
from tinyllm.cli.tokenizer.token_table import visible
from tinyllm.errors import UserError
from tinyllm.files import open_regular
from tinyllm.ops.bpe import BYTES
from tinyllm.report.terminal import progress_bar
from tinyllm.tokenizer import CHAT_TEMPLATES, BPETokenizer, save_tokenizer


@command("tokenizer train")
def train(file: str, *, vocab: int, out: str, pattern: str = "gpt2", special: list[str] | None = None,
          chat: Literal["roles", "chatml", "llama3"] | None = None, watch: bool = False,
          overwrite: bool = False, json: bool = False) -> None:
    """Learn a byte-level BPE vocabulary from text.

    FILE                a file, folder, glob, .gz, - or the name of a corpus
    --vocab N           the number of tokens
    --out PATH          the JSON file to write
    --pattern           how text is cut: gpt2, gpt4, o200k or a regex
    --special NAME ...  special tokens to add, such as "<|endoftext|>"
    --chat              a chat template to store in the file, with its special tokens
    --watch             show every merge: its count, parts and token
    --overwrite         replace PATH if it exists
    --json              print the result as JSON

    example:
      tinyllm tokenizer train book.txt --vocab 4096 --pattern gpt4 --out book.json
      tinyllm tokenizer train book.txt --vocab 999 --out b.json --special "<|end|>"
      tinyllm tokenizer train stories --vocab 512 --out words.json --watch
    """
    if watch and json:
        raise UserError("--watch is for people and --json for programs: choose one")
    target = free_path(out, overwrite)
    template = CHAT_TEMPLATES[chat] if chat else None
    names = list(dict.fromkeys([*(special or ()), *(template.special_tokens if template else ())]))
    with _opened(file) as data:
        start = time.perf_counter()
        if watch:
            tokenizer = BPETokenizer.train(data, vocab, pattern, names, on_merge=Watch())
        else:
            with progress_bar("merges", unit="") as move:
                tokenizer = BPETokenizer.train(data, vocab, pattern, names, move)
        seconds = time.perf_counter() - start
        tokenizer.chat = template
        save_tokenizer(tokenizer, target)
        n_bytes = data.seek(0, os.SEEK_END)
        data.seek(0)
        n_tokens = sum(map(len, tokenizer.encode_file(data)))
    facts: dict[str, Any] = {"path": str(target), "vocab_size": tokenizer.vocab_size}
    facts |= {"fingerprint": tokenizer.fingerprint(), "corpus": file}
    facts |= {"corpus_bytes": n_bytes, "corpus_tokens": n_tokens, "seconds": round(seconds, 3)}
    if json:
        print(dumps(facts))
        return
    if tokenizer.vocab_size < vocab:
        print(f"{file} has no more pairs to merge, so there are fewer tokens than {vocab:,}")
    print("learnt {vocab_size:,} tokens from {corpus_bytes:,} bytes in {seconds:.2f} s; saved to {path}"
          .format(**facts))
    print(f"the text is {n_tokens:,} tokens long, {n_bytes / max(n_tokens, 1):.2f} bytes each")


class Watch:
    """A callback that prints a line for every merge: its count, the two parts, and the new token."""

    def __init__(self) -> None:
        self.tokens = [bytes([i]) for i in range(BYTES)]

    def __call__(self, left: int, right: int, new: int, count: int) -> None:
        if len(self.tokens) == BYTES:
            print(f"{'merge':>7} {'token':>7} {'count':>12}  parts and what they make")
        self.tokens.append(self.tokens[left] + self.tokens[right])
        parts = [visible(self.tokens[i]) for i in (left, right, -1)]
        merge = len(self.tokens) - BYTES
        print(f"{merge:>7} {new:>7} {count:>12,}  |{parts[0]}|{parts[1]}| -> |{parts[2]}|")


def _opened(name: str) -> AbstractContextManager[BinaryIO]:
    """Open a corpus as a binary file; a file is read in parts, so it may be larger than memory."""
    from tinyllm.data import SOURCES, load_corpus  # here: encode and decode start faster without the corpora

    path = Path(name)
    if name not in SOURCES and path.suffix != ".gz" and path.is_file() and path.stat().st_size:
        return open_regular(path)
    return io.BytesIO(load_corpus(name).data)
