"""Make a trained model smaller: write a run whose weights are rounded to 8 or 4 bits.

A quantised run is a normal run folder with one checkpoint; its run.json says how many bits it has. It can
generate and chat, but training cannot continue from it. The same holds for a run whose adapter was merged.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

from tinyllm.errors import UserError
from tinyllm.models.registry import locate
from tinyllm.nn import adapters, merge, quantize
from tinyllm.nn.quantized import bits_of
from tinyllm.runs.config import LoRAConfig
from tinyllm.runs.opened import open_model
from tinyllm.runs.run import Run, progress_of
from tinyllm.tokenizer import save_tokenizer


def quantize_run(source: str | Path, bits: int | None, out: str | Path, overwrite: bool = False
                 ) -> tuple[int, int]:
    """Quantise the best model of the run `source` to 8 or 4 bits, and write it as a run in the folder `out`.

    An adapter is merged first; without `bits`, this is all that is done. Returns the bytes of the weights
    before and after. Raises UserError, before anything is written, when the run or the folder cannot be used.
    """
    old, new = Run(locate(source)), Run(out)
    if os.path.realpath(new.folder) == os.path.realpath(old.folder):
        raise UserError(f"{new.folder} is the run itself: choose another --out")
    if new.holds_something() and not overwrite:
        raise UserError(f"{new.folder} holds a run already: replace it (--overwrite) or choose another --out")
    opened = open_model(old.folder)
    model = opened.model
    if bits_of(model):
        raise UserError(f"{source} is quantised already: give the run that it was made from")
    record = old.read()
    if not (bits or adapters(model)):
        raise UserError(f"{old.folder} has no adapter: all its weights are there already")
    before = weight_bytes(model)
    merge(model)
    if bits:
        quantize(model, bits)
    progress = progress_of(old.find_checkpoint())[0]
    progress = dataclasses.replace(progress, best_step=progress.step)
    config = dataclasses.replace(record.config, lora=LoRAConfig())  # the copy has no adapter
    notes: dict[str, Any] = record.notes | ({"bits": bits} if bits else {"merged": True})
    new.clear()
    save_tokenizer(opened.tokenizer, new.tokenizer)
    new.save(model, {}, progress)
    new.write(dataclasses.replace(record, config=config, notes=notes))
    return before, weight_bytes(model)


def weight_bytes(model: Any) -> int:
    """Return the size of a model's weights in memory."""
    return sum(array.nbytes for array in model.state_dict().values())
