"""Implement `tinyllm quantize`, `merge`, `export` and `report`, which write a run in another form."""

import os
from dataclasses import replace
from typing import Any, Literal

from tinyllm import nn
from tinyllm.cli.command import command
from tinyllm.cli.opening import chosen
from tinyllm.errors import UserError
from tinyllm.models.gguf import save_gguf
from tinyllm.models.registry import locate
from tinyllm.nn.quantized import bits_of
from tinyllm.report.run import write_report
from tinyllm.runs import open_model
from tinyllm.runs.config import LoRAConfig
from tinyllm.runs.run import Run, progress_of
from tinyllm.tokenizer import save_tokenizer
from tinyllm.tokenizer.gguf import vocabulary


@command("quantize")
def quantize(run: str | None = None, *, bits: Literal[8, 4] = 8, out: str | None = None,
             overwrite: bool = False) -> None:
    """Round a trained model's weights to 8 or 4 bits.

    The copy is smaller and generates faster. Only adapters of it can be trained (lora.rank).

    RUN          the folder of a training run; the newest in runs/ if not given
    --bits       bits of a weight
    --out DIR    the folder of the new run (default RUN-intBITS)
    --overwrite  replace the run in DIR

    example:
      tinyllm quantize runs/stories-laptop --bits 8
      tinyllm generate runs/stories-laptop-int8 --prompt "Once"
    """
    copy_run(run, bits, out, overwrite)


@command("merge")
def merge(run: str | None = None, *, out: str | None = None, overwrite: bool = False) -> None:
    """Add a trained adapter to the weights of its start.

    The copy needs no start. It can be quantised, exported, or the start of others.

    RUN          a run with `lora.rank`; the newest in runs/ if not given
    --out DIR    the folder of the new run (default RUN-merged)
    --overwrite  replace the run in DIR

    example:
      tinyllm merge runs/tuned --out runs/merged
    """
    copy_run(run, None, out, overwrite)


def copy_run(run: str | None, bits: int | None, out: str | None, overwrite: bool) -> None:
    """Write a quantised copy of a run's best model, or a merged one if `bits` is None, and print its size.

    The copy is a run with one checkpoint; training cannot continue from it, because run.json has `bits` or
    `merged`. Raises UserError, before anything is written, when the run or the folder cannot be used.
    """
    run = chosen(run)
    out = out or os.path.relpath(f"{os.path.abspath(run)}-{f'int{bits}' if bits else 'merged'}")
    old, new = Run(locate(run)), Run(out)
    if os.path.realpath(new.folder) == os.path.realpath(old.folder):
        raise UserError(f"{new.folder} is the run itself: choose another --out")
    if new.holds_something() and not overwrite:
        raise UserError(f"{new.folder} holds a run already: replace it (--overwrite) or choose another --out")
    opened = open_model(old.folder)
    model = opened.model
    if bits and bits_of(model):
        raise UserError(f"{run} is quantised already: give the run that it was made from")
    record = old.read()
    if not (bits or nn.adapters(model)):
        raise UserError(f"{old.folder} has no adapter: all its weights are there already")
    before = weight_bytes(model)
    nn.merge(model)
    if bits:
        nn.quantize(model, bits)
    progress = progress_of(old.find_checkpoint())[0]
    notes = record.notes | ({"bits": bits} if bits else {"merged": True})
    new.clear()
    save_tokenizer(opened.tokenizer, new.tokenizer)
    new.save(model, {}, replace(progress, best_step=progress.step))
    new.write(replace(record, config=replace(record.config, lora=LoRAConfig()), notes=notes))  # no adapter
    after = weight_bytes(model)
    print(f"weights  {before:,} -> {after:,} bytes ({after / before:.2f} of the size)\nwrote {out}")


def weight_bytes(model: Any) -> int:
    """Return the size of a model's weights in memory."""
    return sum(array.nbytes for array in model.state_dict().values())


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
    if os.path.lexists(out) and not overwrite:
        raise UserError(f"{out} exists already: give another --out, or --overwrite")
    opened = open_model(chosen(run))
    model, tokens = nn.merge(opened.model), vocabulary(opened.tokenizer, opened.model.config.vocab_size)
    kept = save_gguf(model, out, tokens, bits)
    print(f"wrote {out}, {os.path.getsize(out) / 1000:,.0f} kB")
    if opened.tokenizer.to_dict()["normalizer"]:
        print("llama.cpp does not bring texts to Unicode's form NFC, as this tokenizer does")
    if bits < 32:
        print(f"{kept:.1%} of the weights stay float32: vectors, positions, rows that are no multiple of 32")


@command("report")
def report(run: str | None = None) -> None:
    """Write the report.html of a run again.

    RUN  the folder of a run; the newest in runs/ if not given

    example:
      tinyllm report runs/stories-laptop
    """
    print(f"wrote {write_report(Run(chosen(run)))}")
