"""Checkpoints: folders that are whole or not there.

    checkpoints/step-00000500/model.safetensors       the weights
                              optimizer.safetensors   Adam's m and v
                              state.json              everything else, and the SHA-256 of the two files

A checkpoint is written under a temporary name, every file flushed to the disk, and only then renamed into
place, which is one atomic step. Whatever happens in mid-save, power cut and full disk included, the
checkpoint before it still stands.
"""

import hashlib
import json
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from tinyllm.errors import UserError
from tinyllm.files import atomic_write_text, sync_folder
from tinyllm.models import load_weights, save_weights

ADVICE = "delete that checkpoint's folder to fall back on an earlier one, or train again with --overwrite"


def save_checkpoint(folder, step, arrays, state):
    """Write the checkpoint of `step` and return its path.

    `arrays` is {"model": {name: array}, ...}, one file each; `state` goes to state.json. Raises UserError
    when the system refuses; what was there before is then untouched.
    """
    target = Path(folder) / f"step-{step:08d}"
    if target.exists():  # the same step of the same run: the same bits
        return target
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        hashes = {}
        for name, named_arrays in arrays.items():
            file = temporary / f"{name}.safetensors"
            save_weights(named_arrays, file)
            hashes[file.name] = _sha256(file)
        _write_state(temporary / "state.json", {"step": step, "sha256": hashes} | state)
        os.rename(temporary, target)
        sync_folder(folder)
    except (OSError, UserError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"cannot save the checkpoint of step {step} ({reason}); earlier ones are whole: "
            f"make room, then go on with --resume"
        ) from error
    return target


def _sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _write_state(path, state):
    """Write state.json with a digest of its own, so that a flipped bit in it does not go unseen."""
    atomic_write_text(path, json.dumps(state | {"digest": _digest(state)}, indent=1, allow_nan=False) + "\n")


def _digest(state):
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def list_checkpoints(folder):
    """Return {step: path} of the checkpoints in a folder, in order of steps."""
    found = {}
    if Path(folder).is_dir():
        for path in Path(folder).iterdir():
            if (match := re.fullmatch(r"step-(\d{8,})", path.name)) and path.is_dir():
                found[int(match[1])] = path
    return dict(sorted(found.items()))


def prune_checkpoints(folder, keep):
    """Delete every checkpoint whose step is not in `keep`, and whatever killed writers left behind.

    A folder loses its name first, so that a crash in here leaves no half checkpoint that looks like a whole
    one.
    """
    for step, path in list_checkpoints(folder).items():
        if step not in keep:
            with suppress(OSError):
                path.rename(path.with_name(f".{path.name}.old.tmp"))
    for leftover in Path(folder).glob(".step-*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)


def read_state(path):
    """Return the state.json of a checkpoint.

    Raises UserError, naming the file, when it is missing or damaged.
    """
    path = Path(path) / "state.json"
    try:
        state = json.loads(path.read_bytes())
        digest = state.pop("digest")
    except OSError as error:
        raise UserError(
            f"cannot read {path} ({error.strerror}): the checkpoint is not whole; {ADVICE}"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is damaged: it is not the JSON that tinyllm wrote; {ADVICE}") from error
    if digest != _digest(state):
        raise UserError(f"{path} is damaged: its content does not match its digest; {ADVICE}")
    return state


def load_arrays(path, name, load):
    """Read `NAME.safetensors` of a checkpoint and hand it to `load`, such as `model.load_state_dict`.

    `load` takes {name: array}. Raises UserError, naming the file, when it is missing or cut short, when
    `load` refuses it (other names, other shapes, numbers that are not finite), and when it is not, byte for
    byte, the file that was saved.
    """
    file = Path(path) / f"{name}.safetensors"
    try:
        load(load_weights(file)[0])
        digest = _sha256(file)
    except (OSError, ValueError) as error:
        known = str(file) in str(error)
        raise UserError(f"{error}; {ADVICE}" if known else f"{file}: {error}; {ADVICE}") from error
    if digest != read_state(path)["sha256"].get(file.name):
        raise UserError(f"{file} is not the file that was saved: its SHA-256 differs; {ADVICE}")
