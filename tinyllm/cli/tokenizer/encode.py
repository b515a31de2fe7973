"""Implement `tinyllm tokenizer encode` and `convert`."""

import os
from json import dumps
from pathlib import Path
from typing import Literal

from tinyllm.cli.command import command
from tinyllm.cli.text import note_ignored
from tinyllm.cli.tokenizer.args import allowed_special, free_path, text_of, unpacked
from tinyllm.errors import UserError
from tinyllm.report.terminal import progress_bar
from tinyllm.tokenizer import CHAT_TEMPLATES, load_tokenizer, save_tokenizer


@command("tokenizer encode")
def encode(path: str, text: str | None = None, *, file: str | None = None,
           allow_special: list[str] | None = None, json: bool = False, out: str | None = None,
           overwrite: bool = False) -> None:
    """Turn text into token ids.

    With --out, the file may be larger than memory. Training can use the result:
    tinyllm train --data book.tokens --tokenizer book.json

    PATH                      a tokenizer file, or a folder with one
    TEXT                      the text; if it is - or left out, standard input is read
    --file F                  read the text from a file
    --allow-special NAME ...  recognize these special tokens, or "all"; others are ordinary text
    --json                    print ids and counts as JSON
    --out TOKENS              write the tokens of --file to this file
    --overwrite               replace TOKENS if it exists

    example:
      tinyllm tokenizer encode book.json "To be, or not to be"
      tinyllm tokenizer encode book.json "the end<|end|>" --allow-special "<|end|>"
      tinyllm tokenizer encode book.json --file book.txt --out book.tokens
    """
    if out is not None:
        if file is None or file == "-" or text is not None or allow_special:
            raise UserError("--out takes a --file to encode, without TEXT and without --allow-special")
        _encode_file(path, file, free_path(out, overwrite), json)
        return
    tokenizer = note_ignored(load_tokenizer(path))
    data = text_of(text, file)
    ids = tokenizer.encode(data, allowed_special(allow_special))
    if json:
        print(dumps({"ids": ids, "tokens": len(ids), "bytes": len(data)}))
    else:
        print(*ids)


def _encode_file(path: str, file: str, out: Path, json: bool) -> None:
    from tinyllm.data import token_file  # here: encode and decode start faster without the corpora

    tokenizer = note_ignored(load_tokenizer(path))
    with progress_bar("encoding", unit="B", unit_scale=True) as move:
        n = len(token_file(unpacked(file), tokenizer, out, move))
    n_bytes = os.stat(file).st_size
    if json:
        print(dumps({"path": str(out), "tokens": n, "bytes": n_bytes}))
    else:
        print(f"{n_bytes:,} bytes are {n:,} tokens, {n_bytes / max(n, 1):.2f} bytes each; written to {out}")


@command("tokenizer convert")
def convert(path: str, *, out: str, pattern: str | None = None, special: list[str] | None = None,
            chat: Literal["roles", "chatml", "llama3"] | None = None,
            overwrite: bool = False) -> None:
    """Write a tokenizer of any format as a tokenizer.json, which Hugging Face's libraries read too.

    Rank files of tiktoken contain neither the pattern nor special tokens; give them with --pattern and
    --special. In GPT-2's two files, the tokens that no merge makes are special.

    PATH                a file, or a folder with one
    --out PATH          the file to write
    --pattern           how text is cut (for a rank file): gpt2, gpt4, o200k or a regex
    --special NAME ...  special tokens to add after the tokens of a rank file
    --chat              a chat template to store in the file, which must have its special tokens
    --overwrite         replace PATH if it exists

    example:
      tinyllm tokenizer convert ranks --pattern gpt4 --out tokenizer.json
    """
    target = free_path(out, overwrite)
    tokenizer = note_ignored(load_tokenizer(path, pattern, special))
    if chat:
        CHAT_TEMPLATES[chat].check(tokenizer)
        tokenizer.chat = CHAT_TEMPLATES[chat]
    save_tokenizer(tokenizer, target)
    print(f"{path}: {tokenizer.vocab_size:,} tokens, written to {target}")
