"""Implement `tinyllm compress`, `merge`, `export` and `report`, which write a run in another form."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from tinyllm import nn
from tinyllm.cli.command import command
from tinyllm.cli.opening import chosen
from tinyllm.cli.train import train
from tinyllm.compress import prune as pruning
from tinyllm.errors import UserError
from tinyllm.models import locate
from tinyllm.models.gguf import save_gguf
from tinyllm.report.one_page import write_page
from tinyllm.report.run import write_report
from tinyllm.runs import Run, open_model, prepare
from tinyllm.runs.config import LoRAConfig
from tinyllm.runs.run import progress_of
from tinyllm.tokenizer import save_tokenizer
from tinyllm.tokenizer.gguf import vocabulary


@command("compress")
def compress(run: str | None = None, *, bits: Literal[8, 4] | None = None, prune: str | None = None,
             distill: str | None = None, out: str | None = None, overwrite: bool = False) -> int | None:
    """Make a trained model smaller: round its weights, prune it, or train a small model on it.

    RUN              the folder of a training run; the newest in runs/ if not given
    --bits           bits of a weight; then only adapters of it can be trained (lora.rank)
    --prune HOW      magnitude:0.5, wanda:0.5, 2:4, wanda:2:4, heads:2 or layers:1
    --distill MODEL  train a preset or a run to predict what RUN predicts, as RUN was trained
    --out DIR        the folder of the new run (default RUN-int8, RUN-pruned, or that of `train`)
    --overwrite      replace the run in DIR

    example:
      tinyllm compress runs/stories-laptop --bits 8
    """
    given = {name: x for name, x in (("bits", bits), ("pruned", prune), ("distilled", distill)) if x}
    if len(given) != 1:
        raise UserError("give one of --bits, --prune and --distill")
    run = chosen(run)
    if not distill:
        copy_run(run, given, out, overwrite)
        return None
    flat = Run(locate(run)).read().config.flat()
    settings = {name: x for name, x in flat.items() if name == "data" or name.startswith("train.")}
    settings |= {"distill.teacher": run, "distill.of": flat["recipe"]} | (
        {"start": distill} if os.path.isdir(locate(distill)) else
        {"preset": distill, "tokenizer": Run(locate(run)).tokenizer, "model.type": flat["model.type"],
         "model.context": flat["model.context"]})
    all_settings = [f"{name}={x}" for name, x in settings.items() if x is not None]
    return train("distill", set_=all_settings, out=out, overwrite=overwrite)


@command("merge")
def merge(run: str | None = None, *, out: str | None = None, overwrite: bool = False) -> None:
    """Add a trained adapter to the weights of its start.

    The copy needs no start. It can be compressed, exported, or the start of others.

    RUN          a run with `lora.rank`; the newest in runs/ if not given
    --out DIR    the folder of the new run (default RUN-merged)
    --overwrite  replace the run in DIR

    example:
      tinyllm merge runs/tuned --out runs/merged
    """
    copy_run(chosen(run), {"merged": True}, out, overwrite)


def copy_run(run: str, notes: dict[str, Any], out: str | None, overwrite: bool) -> None:
    """Write a merged copy of a run's best model, with fewer bits or pruned, and print its size.

    notes: {"bits": 8 or 4}, {"pruned": how}, or {"merged": True}. The copy is a run with one checkpoint;
    training cannot continue from it, because run.json has the notes. Raises UserError, before anything is
    written, when the run or the folder cannot be used.
    """
    bits, how = notes.get("bits"), notes.get("pruned")
    out = out or os.path.relpath(f"{os.path.abspath(run)}-{f'int{bits}' if bits else min(notes)}")
    old, new = Run(locate(run)), Run(out)
    if os.path.realpath(new.folder) == os.path.realpath(old.folder):
        raise UserError(f"{new.folder} is the run itself: choose another --out")
    if new.holds_something() and not overwrite:
        raise UserError(f"{new.folder} holds a run already: replace it (--overwrite) or choose another --out")
    opened = open_model(old.folder)
    model, tokenizer = opened.model, opened.tokenizer
    if (bits or how) and nn.bits_of(model):
        raise UserError(f"{run} is quantised already: give the run that it was made from")
    record = old.read()
    if not (bits or how or nn.adapters(model)):
        raise UserError(f"{old.folder} has no adapter: all its weights are there already")
    before = sum(array.nbytes for array in model.state_dict().values())
    nn.merge(model)
    if bits:
        nn.quantize(model, bits)
    if how:
        train = replace(record.config.train, batch=4 * record.config.train.batch)
        usual = replace(record.config, lora=LoRAConfig(), train=train)
        read = prepare(usual, None, tokenizer, None, model, record) if how.startswith(pruning.READS) else None
        pruning.prune(model, how, read and read.plan.batches(0).tokens)
    progress = progress_of(old.find_checkpoint())[0]
    config = replace(record.config, lora=LoRAConfig(), model=model.config)  # no adapter, perhaps fewer layers
    new.clear()
    save_tokenizer(tokenizer, new.tokenizer)
    new.save(model, {}, replace(progress, best_step=progress.step))
    new.write(replace(record, config=config, notes=record.notes | notes))
    after = sum(array.nbytes for array in model.state_dict().values())
    zeros = sum(int((layer.weight.data == 0).sum()) for layer in model.of_kind(nn.Linear).values())
    print(f"weights  {before:,} -> {after:,} bytes ({after / before:.2f} of the size)"
          f"{f', {zeros:,} weights are 0' if zeros else ''}\nwrote {out}")


@command("export")
def export(run: str | None = None, *, out: str = "model.gguf", html: str = "", bits: Literal[32, 8, 4] = 32,
           overwrite: bool = False) -> None:
    """Write a model as a GGUF file for llama.cpp, or as a page that runs it in a browser.

    Programs that are built on llama.cpp also open such a file. Programs that read models of
    Hugging Face open the folder of a checkpoint directly and need no export.

    RUN          a run, or a model's folder; the newest run in runs/ if not given
    --out FILE   the file to write (default model.gguf)
    --html FILE  write a page, with weights of 8 bits, and no GGUF file
    --bits       bits of a weight: 8 and 4 are Q8_0 and Q4_0
    --overwrite  replace FILE

    example:
      tinyllm export runs/stories-laptop --out stories.gguf --bits 8
    """
    if os.path.lexists(html or out) and not overwrite:
        raise UserError(f"{html or out} exists already: give another name, or --overwrite")
    run = chosen(run)
    if html:
        size = write_page(open_model(run, bits=8), Path(run).absolute().name, html)
        print(f"wrote {html}, {size / 1000:,.0f} kB: open it in a browser")
        return
    opened = open_model(run)
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
