"""Implement `tinyllm export`, which writes a model as a GGUF file for llama.cpp."""

import os
from typing import Literal

from tinyllm.cli.command import command


@command("export")
def export(run: str | None = None, *, out: str = "model.gguf", bits: Literal[32, 8, 4] = 32,
           overwrite: bool = False) -> None:
    """Write a model as a GGUF file for llama.cpp.

    Programs that are built on llama.cpp also open such a file. Programs that read models of
    Hugging Face open the folder of a checkpoint directly and need no export.

    RUN          a run, or a model's folder; the newest run in runs/ if not given
    --out FILE   the file to write (default model.gguf)
    --bits       bits of a weight: 8 and 4 are Q8_0 and Q4_0
    --overwrite  replace FILE

    example:
      tinyllm export runs/stories-laptop --out stories.gguf --bits 8
    """
    from tinyllm.cli.opening import chosen
    from tinyllm.errors import UserError
    from tinyllm.models.gguf import save_gguf
    from tinyllm.nn import merge
    from tinyllm.runs import open_model
    from tinyllm.tokenizer.gguf import vocabulary

    if os.path.lexists(out) and not overwrite:
        raise UserError(f"{out} exists already: give another --out, or --overwrite")
    opened = open_model(chosen(run))
    save_gguf(merge(opened.model), out, vocabulary(opened.tokenizer), bits)
    print(f"wrote {out}, {os.path.getsize(out) / 1000:,.0f} kB")
