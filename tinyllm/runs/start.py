"""Remember the weights that a run began with, and open them again later.

A reference model and the base of an adapter are the weights with which a run began, even after the run is
resumed from a checkpoint. So run.json has the folder of these weights, and their SHA-256.
"""

import os
from pathlib import Path
from typing import Any

from tinyllm.errors import UserError
from tinyllm.models import Origin, from_pretrained, hash_weights, locate
from tinyllm.models.adapter import FILE as ADAPTER, read_settings
from tinyllm.nn import bits_of, merge
from tinyllm.tokenizer import Tokenizer, load_tokenizer


def open_start(start: Origin, adapts: bool = False) -> tuple[Any, Tokenizer]:
    """Return the model that a run began with, in evaluation mode, and its tokenizer.

    Raises UserError, with both digests, when the weights have changed or are gone. A start without a digest
    is not compared. Adapters are merged, unless they are trained on (`adapts`) or their base is quantised.
    """
    folder = locate(start.folder)
    opened: Any = open_folder(folder) if os.path.isdir(folder) else None  # refuses a huge file by its header
    found = hash_weights(folder) if opened and start.sha256 else "none"
    if not opened or found != (start.sha256 or "none"):
        raise UserError(f"the weights in {start.folder} have changed since the run began: SHA-256 "
                        f"{found[:12]} now, {start.sha256[:12]} then; bring them back, or start a new run")
    model, tokenizer = opened
    return model if adapts or bits_of(model) else merge(model), tokenizer


def hashed(start: Origin | None) -> Origin | None:
    """Return a start with the SHA-256 of its weights, which is computed if it is unknown."""
    if start is None or start.sha256:
        return start
    return Origin(start.folder, hash_weights(locate(start.folder)))


def open_folder(folder: Path, bits: int | None = None) -> tuple[Any, Tokenizer]:
    """Load the model and the tokenizer of a Hugging Face folder, and check that they fit together.

    An adapter's folder may leave the tokenizer to its base.
    """
    model, file = from_pretrained(folder, bits), folder / "tokenizer.json"
    if not os.path.lexists(file) and os.path.lexists(folder / ADAPTER):
        file = locate(read_settings(folder)[0]["base_model_name_or_path"]) / file.name
    tokenizer = load_tokenizer(file)
    if (size := model.config.vocab_size) < tokenizer.vocab_size:  # a larger size is unused padding
        raise UserError(f"the model in {folder} has {size} tokens, its tokenizer {tokenizer.vocab_size}")
    return model, tokenizer
