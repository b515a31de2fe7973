"""Write and read checkpoints: folders that are complete or absent.

    checkpoints/step-00000500/config.json model.safetensors tokenizer.json generation_config.json
                              optimizer.safetensors   AdamW's m and v
                              private.safetensors     the seed of private training: not to be given away
                              state.json              everything else, with size and SHA-256 of all these

The files of the first line form a Hugging Face folder, which other programs can open. A checkpoint is written
under a temporary name, every file is flushed to the disk, and then the folder is renamed, which is one atomic
step. So if saving fails, even because of a power cut or a full disk, earlier checkpoints stay intact.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from tinyllm.config import bounded, conform
from tinyllm.errors import UserError, worded
from tinyllm.files import atomic_write_text, open_regular, read_bytes, read_json, sync_folder
from tinyllm.models.weights import hash_file, load_weights

ADVICE = "delete that checkpoint's folder to fall back on an earlier one, or train again with --overwrite"

PINNED = "pinned"  # the name of an empty file, see `pin`
STEP = re.compile(r"step-(\d{8,})")  # the name of a checkpoint's folder


def save_checkpoint(folder: Path, step: int, write: Callable[[Path], None], state: dict[str, Any]) -> Path:
    """Write a checkpoint after step number `step`, and return its path.

    `write(path)` writes all files but state.json into the new folder, `state` goes to state.json. Raises
    UserError when a file cannot be written; earlier checkpoints then stay intact.
    """
    target = Path(folder) / f"step-{step:08d}"
    if target.exists():  # saved already: the same step of a run always has the same bits
        return target
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        write(temporary)
        files = sorted(temporary.iterdir())
        known = {"bytes": {file.name: file.stat().st_size for file in files},
                 "sha256": {file.name: sha256(file) for file in files}}
        write_state(temporary / "state.json", {"step": step} | known | state)
        os.rename(temporary, target)
        sync_folder(folder)
    except (OSError, UserError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot save the checkpoint of step {step} ({reason}): mend that, then go on with "
                        "--resume") from error
    return target


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file. Raises UserError if it is too large, or safetensors cut short."""
    return hash_file(path) if path.suffix == ".safetensors" else hashlib.sha256(read_bytes(path)).hexdigest()


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write state.json with a digest of its content, so that a flipped bit is detected."""
    atomic_write_text(path, json.dumps(state | {"digest": digest(state)}, indent=1, allow_nan=False) + "\n")


def digest(state: dict[str, Any]) -> str:
    """Return the SHA-256 of JSON values in hexadecimal."""
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def list_checkpoints(folder: Path) -> dict[int, Path]:
    """Return {step: path} of the checkpoints in a folder, in order of steps."""
    found = [path for path in Path(folder).glob("step-*") if STEP.fullmatch(path.name) and path.is_dir()]
    return dict(sorted((int(path.name.removeprefix("step-")), path) for path in found))


def pin(path: Path) -> None:
    """Mark a checkpoint as not to be pruned, because another run began with it; ignore other folders."""
    if os.path.lexists(path / "state.json"):
        with suppress(OSError):  # without write access it stays unprotected
            (path / PINNED).touch()


def prune_checkpoints(folder: Path, keep: set[int | None]) -> None:
    """Delete all checkpoints whose step is not in `keep`, and unfinished ones that killed processes left.

    Pinned ones stay. A folder is renamed first, so that a crash leaves no incomplete checkpoint that looks
    complete.
    """
    for step, path in list_checkpoints(folder).items():
        if step not in keep and not os.path.lexists(path / PINNED):
            with suppress(OSError):
                path.rename(path.with_name(f".{path.name}.old.tmp"))
    for leftover in Path(folder).glob(".step-*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)


def read_state(path: Path) -> dict[str, Any]:
    """Return the state.json of a checkpoint. Raises UserError, naming the file, if it is damaged."""
    file = Path(path) / "state.json"
    with naming(file):
        state = read_json(file, {})
        if state.pop("digest", None) != digest(state):
            raise UserError("damaged, its content does not match its digest")
        match = STEP.fullmatch(file.parent.name)
        step = bounded(int, choices=[int(match[1])]) if match else bounded(int, min=0)
        conform(state, {"step": step, "bytes": {str: int}, "sha256": {str: str}})
    return state


def verify(path: Path, optimizer: bool = True) -> dict[str, Any]:
    """Check that the files of a checkpoint are unchanged, and return its state.

    Without `optimizer`, what only training needs is not read. Raises UserError, naming the file,
    when a file is missing, cut short or changed, or state.json has no digest of the file.
    """
    state = read_state(path)
    names = {file.name for file in Path(path).glob("*.safetensors")} | state["sha256"].keys()
    for name in sorted(names - (set() if optimizer else {"optimizer.safetensors", "private.safetensors"})):
        file = Path(path) / name
        with naming(file):
            with open_regular(file) as f:  # a huge file is refused before it is hashed for minutes
                size = os.fstat(f.fileno()).st_size
            if size != state["bytes"].get(name):
                raise UserError(f"not the file that was saved, its size differs: {size:,} bytes")
            if sha256(file) != state["sha256"].get(name):
                raise UserError("not the file that was saved, its SHA-256 differs")
    return state


def load_state(path: Path, name: str, part: Any) -> None:
    """Load NAME.safetensors into `part`, such as an optimizer. Raises UserError if the file does not fit."""
    with naming(file := path / f"{name}.safetensors"):
        part.load_state_dict(load_weights(file)[0])


def naming(file: Path) -> AbstractContextManager[None]:
    """Add to an error in the `with` block the name of the file that it reads, and what to do about it."""
    return worded(f"{file}: ", f"; {ADVICE}", unless=file.parent)
