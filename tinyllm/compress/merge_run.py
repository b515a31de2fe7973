"""Merge the adapter of a trained model into the weights, and write them as a run or a model's folder."""

from pathlib import Path

from tinyllm.compress.quantize_run import check_folders, write_copy
from tinyllm.errors import UserError
from tinyllm.nn import adapters, merge
from tinyllm.runs.opened import open_model
from tinyllm.runs.run import Run
from tinyllm.tokenizer import save_tokenizer


def merge_run(source: str | Path, out: str | Path, which: str = "best", overwrite: bool = False) -> None:
    """Merge the adapter of a run, or of an adapter's folder, and write a run, or a model's folder, to `out`.

    Raises UserError, before anything is written, when there is no adapter, or a folder cannot be used.
    """
    new = Run(out)
    check_folders(Run(source), new, overwrite)
    opened = open_model(source, which)
    if not adapters(opened.model):
        raise UserError(f"{source} has no adapter: all its weights are there already")
    merge(opened.model)
    if opened.run:
        return write_copy(new, opened, which, {"merged": str(source)})
    opened.model.save_pretrained(out)
    save_tokenizer(opened.tokenizer, new.tokenizer)
