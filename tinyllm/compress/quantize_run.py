"""Make a trained model smaller: write a run whose weights are rounded to 8 or 4 bits.

A quantised run is a normal run folder with one checkpoint; its run.json says how many bits it has. It can
generate and chat, but training cannot continue from it. The same holds for a run whose adapter was merged.
"""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyllm.errors import UserError
from tinyllm.nn import adapters, merge, quantize
from tinyllm.runs.config import LoRAConfig
from tinyllm.runs.opened import open_model
from tinyllm.runs.run import Run, progress_of
from tinyllm.runs.setup import TrainSetup, reopen
from tinyllm.tokenizer import save_tokenizer


@dataclass(frozen=True)
class Quantized:
    """Hold the result of `quantize_run`: sizes and losses before and after. Losses are None without data."""

    run: Run
    bytes_before: int
    bytes_after: int
    loss_before: float | None
    loss_after: float | None
    no_loss: str  # why there are no losses, or ""


def quantize_run(
    source: str | Path, bits: int | None, out: str | Path, which: str = "best", overwrite: bool = False
) -> Quantized:
    """Quantize the model of the run `source` to 8 or 4 bits, and write it as a run in the folder `out`.

    An adapter is merged first; without `bits`, this is all that is done. The validation loss is measured
    before and after if the data of the run can be read and has not changed. Raises UserError, before anything
    is written, when the run or the folder cannot be used.
    """
    old, new = Run(source), Run(out)
    if os.path.realpath(new.folder) == os.path.realpath(old.folder):
        raise UserError(f"{new.folder} is the run itself: choose another --out")
    if new.holds_something() and not overwrite:
        raise UserError(f"{new.folder} holds a run already: replace it (--overwrite) or choose another --out")
    record = old.read()
    if record.notes.get("bits"):
        raise UserError(f"{old.folder} is quantised already: give the run that it was made from")
    opened = open_model(old.folder, which)
    model = opened.model
    if not (bits or adapters(model)):
        raise UserError(f"{old.folder} has no adapter: all its weights are there already")
    setup, no_loss = data_of(old)

    def measured():
        loss = setup.plan.evaluate(model)["val_loss"] if setup else None
        return sum(array.nbytes for array in model.state_dict().values()), loss

    bytes_before, loss_before = measured()
    merge(model)
    if bits:
        quantize(model, bits)
    bytes_after, loss_after = measured()
    progress = progress_of(old.find_checkpoint(which))[0]
    progress = dataclasses.replace(progress, best_step=progress.step)
    config = dataclasses.replace(record.config, lora=LoRAConfig())  # the copy has no adapter
    notes: dict[str, Any] = record.notes | ({"bits": bits} if bits else {"merged": True})
    new.clear()
    save_tokenizer(opened.tokenizer, new.tokenizer)
    new.save(model, {}, progress)
    new.write(dataclasses.replace(record, config=config, notes=notes))
    return Quantized(new, bytes_before, bytes_after, loss_before, loss_after, no_loss)


def data_of(run: Run) -> tuple[TrainSetup | None, str]:
    """Open the data that a run was trained on -> (its TrainSetup, ""), or (None, why it cannot be opened)."""
    config = run.read().config
    if config.data == "-":
        return None, "the run's data came from standard input"
    try:
        return reopen(run, config), ""
    except UserError as error:
        return None, f"the run's data cannot be used: {error}"


def default_folder(source: str | Path, ending: str) -> Path:
    """Return a folder for the copy of a run: runs/stories-laptop -> runs/stories-laptop-int8."""
    name = f"{Path(os.path.realpath(source)).name}-{ending}"
    return Path(source, "..", name) if Path(source).name in ("", "..") else Path(source).with_name(name)
