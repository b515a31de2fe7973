"""Read and write the folder of a training run, which contains everything about the run.

runs/NAME/run.json          all settings; facts about the data, with its SHA-256; frame, start and notes
          tokenizer.json
          log.jsonl         what happened
          report.html       a page that shows the run
          checkpoints/      the last and the best checkpoint
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tinyllm.config import bounded, check, conform, flatten, setting
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_bytes, atomic_write_text, read_bytes, read_json, remove_leftovers
from tinyllm.models import Origin, locate, save_weights
from tinyllm.models.pretrained import load_into
from tinyllm.runs import checkpoint
from tinyllm.runs.config import RunConfig, make_config
from tinyllm.runs.log import RunLog
from tinyllm.runs.recipe import NO_FRAME, Frame
from tinyllm.tokenizer import Tokenizer, load_tokenizer, save_tokenizer
from tinyllm.train.loop import Progress


@dataclass(frozen=True)
class Facts:
    """Facts about the data and the tokenizer, which are stored in run.json."""

    data: str
    bytes: int = setting(min=0)
    sha256: str = setting()
    train_tokens: int = setting(min=0)
    val_tokens: int = setting(min=0)
    vocab_size: int = setting(min=1)
    tokenizer_sha256: str = setting()
    entropy_per_char: float | None = setting(min=0)

    def __post_init__(self):
        check(self, "facts.")


@dataclass(frozen=True)
class Record:
    """The content of run.json: what a run is made of, and how it began."""

    config: RunConfig
    facts: Facts
    frame: Frame = NO_FRAME
    start: Origin | None = None  # the weights that the run began with
    reward: Origin | None = None  # the weights of its reward model
    teacher: Origin | None = None  # the weights of its teacher
    notes: dict[str, Any] = field(default_factory=dict)  # that callers store, such as replaced ops

    def content(self) -> dict[str, Any]:
        """Return the record in the form of run.json."""
        return {"settings": self.config.nested(), "facts": asdict(self.facts), "frame": self.frame._asdict(),
                **{name: (found := getattr(self, name)) and asdict(found) for name in ORIGINS},
                "notes": self.notes}


CONTENT = {  # the fields of run.json
    "settings": {}, "facts": {}, "frame": {"separator": str, "end": str}, "notes": {},
    "start": bounded(dict | None), "reward": bounded(dict | None),
}
ORIGINS = "start", "reward", "teacher"
SUMS = {"steps": bounded(int, min=1), "tokens": bounded(int, min=0)}  # of `Progress.unlogged`, unless empty
# Without this file, transformers takes the tokenizer of the family's published models, with other ids.
FOR_TRANSFORMERS = '{"tokenizer_class": "PreTrainedTokenizerFast"}\n'


class Run:
    """The folder of a run: paths of its files, and methods that write and read these files."""

    def __init__(self, folder: str | Path):
        if folder == "":
            raise UserError("the folder of a run has an empty name: name it after --out, or leave that out")
        self.folder = Path(folder)
        self.file = self.folder / "run.json"
        self.tokenizer = self.folder / "tokenizer.json"
        self.log = RunLog(self.folder / "log.jsonl")
        self.report = self.folder / "report.html"
        self.checkpoints = self.folder / "checkpoints"
        self.files = [self.file, self.checkpoints, self.log.path, self.report, self.tokenizer]

    def holds_something(self) -> bool:
        """Return True if the folder contains a run, complete or not."""
        return any(path.exists() for path in self.files)

    def is_model(self) -> bool:
        """Return True for a folder with a model but no run, such as a checkpoint."""
        known = [os.path.lexists(self.folder / name) for name in ("config.json", "adapter_config.json")]
        return any(known) and not os.path.lexists(self.file)

    # Writing.

    def check_writable(self) -> None:
        """Raise UserError if files cannot be written into the folder. This check writes nothing."""
        absolute = self.folder.absolute()
        place = next(path for path in (absolute, *absolute.parents) if path.exists())
        if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
            raise UserError(f"cannot write the run to {self.folder}: {place} is not a folder to write in")

    def create(self, record: Record, tokenizer: Tokenizer) -> None:
        """Begin a run: remove the files of an earlier run, write the tokenizer, and finally run.json."""
        self.clear()
        save_tokenizer(tokenizer, self.tokenizer)
        self.write(record)
        for origin in filter(None, (getattr(record, name) for name in ORIGINS)):
            checkpoint.pin(Path(origin.folder))

    def clear(self) -> None:
        """Remove the files of an earlier run, run.json first.

        Write the new run.json last: so a folder with a run.json is always a complete run.
        """
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            for path in self.files:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            self.checkpoints.mkdir()
            remove_leftovers(self.folder)
        except OSError as error:
            raise UserError(f"cannot write the run to {self.folder}: {error.strerror or error}") from error

    def write(self, record: Record) -> None:
        """Write run.json."""
        atomic_write_text(self.file, json.dumps(record.content(), indent=2, ensure_ascii=False) + "\n")

    def save(self, model: Any, states: dict[str, dict], progress: Progress) -> Path:
        """Write a checkpoint and return its path; delete all checkpoints except the last and the best."""

        def write(folder):
            model.save_pretrained(folder)
            atomic_write_bytes(folder / "tokenizer.json", read_bytes(self.tokenizer))
            atomic_write_text(folder / "tokenizer_config.json", FOR_TRANSFORMERS)
            for name, arrays in states.items():
                save_weights(arrays, folder / f"{name}.safetensors")

        state = {"progress": asdict(progress), "log_bytes": self.log.sync() if self.log.path.exists() else 0}
        path = checkpoint.save_checkpoint(self.checkpoints, progress.step, write, state)
        checkpoint.prune_checkpoints(self.checkpoints, keep={progress.step, progress.best_step})
        return path

    # Reading.

    def read(self) -> Record:
        """Return the content of run.json.

        A setting that did not exist when the run was written gets its default. Raises UserError when the file
        is missing or damaged.
        """
        if not os.path.lexists(self.file):
            what = "it is the folder of a model" if self.is_model() else "there is no run.json"
            near = list_runs(self.folder.parent) or list_runs()
            beside = ", ".join(str(run.folder) for run in near[:5])
            raise UserError(f"{self.folder} holds no run: {what}{beside and f'; there are {beside}'}")
        content = read_json(self.file, CONTENT)
        try:
            conform(content["frame"].get("chat", False), bool, "frame.chat")
            conform(content["notes"].get("replaced_ops", []), [{"op": str}], "notes.replaced_ops")
            origins = {name: Origin(said["folder"], said["sha256"])
                       for name in ORIGINS if (said := content.get(name)) is not None}
            return Record(make_config(flatten(content["settings"])), Facts(**content["facts"]),
                          Frame(**content["frame"]), notes=content["notes"], **origins)
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{self.file} is damaged, or of another version: {error}") from error

    def read_tokenizer(self) -> Tokenizer:
        """Return the run's tokenizer. Raises UserError if run.json describes another tokenizer."""
        tokenizer = load_tokenizer(self.tokenizer)
        if tokenizer.fingerprint() != self.read().facts.tokenizer_sha256:
            what = "is not the tokenizer that this run was trained with"
            raise UserError(f"{self.tokenizer} {what}: its SHA-256 differs")
        return tokenizer

    def last_checkpoint(self) -> Path | None:
        """Return the path of the newest checkpoint, or None."""
        return next(reversed(checkpoint.list_checkpoints(self.checkpoints).values()), None)

    def find_checkpoint(self, which: str = "best") -> Path:
        """Return the path of the "last" checkpoint, or the "best". Raises UserError if there is none."""
        self.read()  # raises UserError if the folder is no run, and says what it is
        kept = checkpoint.list_checkpoints(self.checkpoints)
        if not kept:
            raise UserError(f"{self.folder} holds no checkpoint yet: train it first, with --resume")
        last = kept[max(kept)]
        best = progress_of(last)[0].best_step if which == "best" and len(kept) > 1 else None
        return last if best is None else kept.get(best, last)

    def model_folder(self, which: str = "best") -> Path:
        """Return the folder of the model: this one, or a checkpoint, whose files are verified."""
        if self.is_model():
            return self.folder
        path = self.find_checkpoint(which)
        checkpoint.verify(path, optimizer=False)
        return path

    def restore(self, loop: Any) -> Progress:
        """Load the last checkpoint into the parts of a loop, or start from the beginning if there is none.

        Raises UserError when the checkpoint is damaged, or if the run has done more steps than the loop has.
        """
        if not self.checkpoints.is_dir():  # else the whole log would be deleted below
            raise UserError(f"there is no folder {self.checkpoints}: put it back, or train with --overwrite")
        progress, log_bytes = Progress(), 0
        remove_leftovers(self.folder)
        if path := self.last_checkpoint():
            progress, log_bytes = progress_of(path, checkpoint.verify(path))
            if progress.step > loop.steps:
                raise UserError(f"this run has done {progress.step} steps already: give more --steps")
            with checkpoint.naming(path / "model.safetensors"):
                load_into(loop.model, path)
            for name, part in loop.stateful().items():
                checkpoint.load_state(path, name, part)
            checkpoint.prune_checkpoints(self.checkpoints, {progress.step, progress.best_step})
        self.log.cut(log_bytes)
        return progress


def progress_of(path: Path, state: dict[str, Any] | None = None) -> tuple[Progress, int]:
    """Return the progress in a checkpoint, and the length that the log had then, in bytes.

    `state` is the content of state.json, if it has been read already. Raises UserError if it is damaged.
    """
    state = state or checkpoint.read_state(path)
    with checkpoint.naming(path / "state.json"):
        known = {"step": bounded(int, choices=[state["step"]]), "unlogged": {str: bounded(float | None)}}
        conform(state, {"progress": known, "log_bytes": bounded(int, min=0)})
        if sums := state["progress"]["unlogged"]:
            conform(sums, SUMS, "progress.unlogged")
        conform(state["progress"].get("unlogged_steps", {}), {str: SUMS["steps"]}, "progress.unlogged_steps")
        try:
            return Progress(**state["progress"]), state["log_bytes"]
        except TypeError as error:  # an unknown field
            raise UserError(f"was saved by another version of tinyllm: {error}") from None


def find_origin(place: str) -> Origin:
    """Find the weights that a new run needs, not yet hashed.

    `place` is a run, whose best checkpoint is taken, or a Hugging Face folder. Raises UserError, naming the
    file, when a file is missing or damaged.
    """
    path = Run(locate(place)).model_folder()
    return Origin(os.path.abspath(path) if os.path.exists(place) else place)  # or "shipped"


def frame_of(place: str | Path) -> Frame:
    """Return the frame of a run, or of the run that a checkpoint belongs to; other folders have none."""
    folder = Path(place)
    owners = [folder, *([folder.parents[1]] if folder.parent.name == "checkpoints" else [])]
    return next((run.read().frame for run in map(Run, owners) if run.file.exists()), NO_FRAME)


def list_runs(folder: str | Path = "runs") -> list[Run]:
    """Return the runs in a folder, the newest first."""
    files = sorted(Path(folder).glob("*/run.json"), key=lambda file: -file.stat().st_mtime)
    return [Run(file.parent) for file in files]
