"""Save checkpoints on failing disks, and read damaged files of a run: they are refused, or change nothing."""

import errno
import functools
import hashlib
import json
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import readers
from helpers import refuses
from tiny_run import new_training, outcome, resumed_training, same

import tinyllm as tl
from tinyllm.report.run import render
from tinyllm.runs.checkpoint import list_checkpoints, load_state, write_state
from tinyllm.runs.log import read_log
from tinyllm.runs.run import progress_of
from tinyllm.train import AdamW, events

FILES = {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json",
         "tokenizer_config.json", "optimizer.safetensors", "state.json"}


@pytest.fixture
def copy(whole, tmp_path):
    """Return a copy of a run, which a test may damage."""
    return shutil.copytree(whole, tmp_path / "run")


def test_transformers_gives_the_ids_of_a_runs_tokenizer(whole):
    """A past bug: transformers took the characters for a GPT-2 tokenizer, as the model is a GPT-2."""
    transformers = pytest.importorskip("transformers")
    folder, words = tl.Run(whole).find_checkpoint(), "the the"
    found = transformers.AutoTokenizer.from_pretrained(folder)(words)["input_ids"]
    assert found == list(tl.load_tokenizer(folder).encode(words))


# Saving: each call that writes something fails once, as on a full disk or when the process is killed.


class Killed(BaseException):
    """Stand for the end of the process: no `except Exception` may catch it and clean up."""


def fail_at(monkeypatch, number, error):
    """Let call `number` of those that change the disk raise `error`; return the list of all calls made."""
    calls = []

    def counted(name, real):
        def call(*args, **more):
            if name == "open" and "r" in [*args[1:2], more.get("mode", "r")][0]:
                return real(*args, **more)
            calls.append(name)
            if len(calls) - 1 == number:
                raise error(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return None if name == "fsync" else real(*args, **more)  # flushing is slow and not needed

        return call

    monkeypatch.setattr("builtins.open", counted("open", open))
    for name in ("fsync", "replace", "rename", "mkdir", "unlink"):
        monkeypatch.setattr(os, name, counted(name, getattr(os, name)))
    return calls


@pytest.fixture
def saving(tmp_path, text):
    """Return a run that has saved step 5, a function to save step 7 that fails at write n, and its writes."""
    folder, backup = tmp_path / "run", tmp_path / "backup"
    training = new_training(folder, text)
    next(event for event in training if isinstance(event, events.Stepped) and event.step == 7)
    shutil.copytree(folder, backup)

    def save(number=-1, error=OSError):
        shutil.rmtree(folder)
        shutil.copytree(backup, folder)
        with pytest.MonkeyPatch.context() as patch:
            calls = fail_at(patch, number, error)
            try:
                training.loop.save()
            except (tl.UserError, Killed) as stop:
                assert error is Killed or "No space left on device" in str(stop)
        return calls

    return folder, save, save()


def test_everything_is_on_the_disk_before_it_counts(saving):
    """Flush every file before it is renamed, and the folder after: a power cut leaves the old or the new."""
    _, _, calls = saving
    assert {"open", "fsync", "replace", "rename", "mkdir", "unlink"} == set(calls)
    for i, name in enumerate(calls):
        if name == "replace":
            assert calls[i - 1] == calls[i + 1] == "fsync", i
    named = calls.index("rename")
    assert calls[named + 1] == "fsync" and "open" not in calls[named:]


@pytest.mark.parametrize("error", [OSError, Killed])
def test_whatever_write_of_a_save_fails_nothing_is_lost(saving, whole, error):
    """A full disk leaves no partial checkpoint, a kill none that looks whole; resumed runs end the same."""
    folder, save, calls = saving
    for number, name in enumerate(calls):
        save(number, error)
        checkpoints = list_checkpoints(folder / "checkpoints")
        assert set(checkpoints) & {5, 7}, (number, name)
        assert all(set(os.listdir(path)) == FILES for path in checkpoints.values()), (number, name)
        half = list((folder / "checkpoints").glob(".*"))
        assert error is Killed or number > calls.index("rename") or not half, (number, name)
        training = resumed_training(folder)
        assert not list((folder / "checkpoints").glob(".*"))
        if number % 16 == 0:
            list(training)
            assert outcome(folder) == outcome(whole), (number, name)


# Reading: damage to every file of a run, and what each message says.


def signed_state(run):
    """Write the right digest into the state.json of a run's last checkpoint, and read it."""
    path = run.last_checkpoint() / "state.json"
    if path.is_file():
        with suppress(ValueError, RecursionError, AttributeError, TypeError):
            state = json.loads(path.read_bytes())
            state.pop("digest", None)
            write_state(path, state)
    return progress_of(path.parent)


READERS = {  # the files of a run -> how they are read
    "run.json": tl.Run.read, "log.jsonl": lambda run: read_log(run.log.path), "state.json": signed_state,
    "[!lr]*.[js]*": lambda run: resumed_training(run.folder),  # all files of a checkpoint, under digests
}


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_of_a_run_are_refused_or_change_nothing(name, whole, tmp_path):
    model, record = tl.open_model(whole, "last").model, tl.Run(whole).read()

    def write(folder):
        run = tl.Run(shutil.copytree(whole, folder / "run", dirs_exist_ok=True))
        return [*run.folder.glob(name), *run.last_checkpoint().glob(name)]

    def use(value):
        if name == "log.jsonl":
            assert "svg" in render("x", record.config, record.facts, value)
        elif name.startswith("["):
            assert same(model, value.model)

    reader = readers.Reader(write, lambda folder: READERS[name](tl.Run(folder / "run")), use)
    signed = READERS[name] is signed_state  # a digest would make a state of any object
    readers.check_all(reader, tmp_path, times=80, json_only=not signed)


def test_the_state_of_another_optimizer_is_refused(whole):
    other, path = AdamW([tl.nn.Parameter(np.zeros(9, np.float32))]), tl.Run(whole).last_checkpoint()
    refuses("optimizer.safetensors.*from the same model", load_state, path, "optimizer", other)


def test_a_huge_file_is_refused_before_it_is_hashed(copy, monkeypatch):
    """A file of 6 GB, whose header fitted it, was read for 22 seconds."""
    path = tl.Run(copy).last_checkpoint() / "optimizer.safetensors"
    header = json.dumps({"x": {"dtype": "U8", "shape": [2**33], "data_offsets": [0, 2**33]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, path.stat().st_size + 2**33)
    digest = hashlib.file_digest

    def small(f, *how):
        return digest(f, *how) if os.fstat(f.fileno()).st_size < 2**30 else pytest.fail("hashed for minutes")

    monkeypatch.setattr(hashlib, "file_digest", small)
    refuses("optimizer.safetensors.*its size differs.*--overwrite", resumed_training, copy)


def test_missing_parts_are_named_and_the_log_stays(copy):
    """A past bug: without the folder of checkpoints, resuming emptied the log and then failed to save."""
    log, checkpoint = (copy / "log.jsonl").read_bytes(), tl.Run(copy).last_checkpoint()
    for name in FILES:
        (checkpoint / name).rename(checkpoint / "away")
        refuses(name, resumed_training, copy)
        if name != "optimizer.safetensors":  # which only training reads
            refuses(name, tl.open_model, copy, "last")
        (checkpoint / "away").rename(checkpoint / name)
    tokenizer = (copy / "tokenizer.json").read_bytes()
    tl.save_tokenizer(tl.CharTokenizer.train(b"abcdefgh"), copy / "tokenizer.json")
    for action in (resumed_training, tl.open_model):
        refuses("tokenizer.json.*trained with", action, copy)
    (copy / "tokenizer.json").write_bytes(tokenizer)
    for left in (b"", log[:40], log[:-1], b"x" + log):
        (copy / "log.jsonl").write_bytes(left)
        refuses("log.jsonl.*no line that ends after.*--overwrite", resumed_training, copy)
        assert (copy / "log.jsonl").read_bytes() == left
    (copy / "log.jsonl").write_bytes(log)
    shutil.rmtree(copy / "checkpoints")
    for make in (lambda path: None, Path.touch, lambda path: path.unlink() or path.symlink_to(path)):
        make(copy / "checkpoints")
        refuses("there is no folder.*checkpoints.*--overwrite", resumed_training, copy)
        refuses("no checkpoint", tl.open_model, copy)
        assert (copy / "log.jsonl").read_bytes() == log
    (copy / "checkpoints").unlink()
    (copy / "checkpoints").mkdir()
    refuses("no checkpoint", tl.Run(copy).find_checkpoint)
    tl.Run(copy).file.unlink()
    refuses("holds no run: there is no run.json", tl.Run(copy).find_checkpoint)


STATE, RUN = "checkpoints/step-00000012/state.json", "run.json"


@pytest.mark.parametrize("file, place, value, message", [
    (STATE, "progress.seconds", 10**400, "number that is too long"), (STATE, "progress", [], "as progress"),
    (STATE, "progress.unlogged", {"steps": -1, "tokens": 1}, "unlogged.steps"),  # a past bug: a division by 0
    (STATE, "progress.unlogged", {"steps": 1, "tokens": None}, "unlogged.tokens"),
    (STATE, "progress.unlogged_steps", {"loss": 0}, "unlogged_steps.loss"),
    (STATE, "progress.unlogged", {"steps": 1, "tokens": 1, "loss": "x"}, "unlogged.loss"),
    (STATE, "progress.step", 5, "as progress.step, where one of 12"),  # a past bug: the log repeated steps
    (STATE, "step", 10**30, "as step, where one of 12 belongs"), (STATE, "sha256", {}, "SHA-256 differs"),
    (STATE, "bytes", {}, "its size differs"), (STATE, "bytes", {"model.safetensors": None}, "as bytes"),
    (STATE, "log_bytes", -1, "as log_bytes"), (STATE, "progress.unknown", 1, "another version"),
    (STATE, "digest", "0" * 64, "does not match its digest"),
    (RUN, "frame.end", 3, "as frame.end"), (RUN, "start", {"folder": "x"}, "sha256"),
    (RUN, "settings.train.lr", None, "train.lr"), (RUN, "settings.model", 3, "damaged"),
    (RUN, "facts.vocab_size", "x", "facts.vocab_size"), (RUN, "settings.train.unknown", 2, "train.unknown"),
    (RUN, "notes.replaced_ops", [3], "as notes.replaced_ops[0]"), (RUN, "start", {}, "'folder'"),
    *((RUN, f"facts.{name}", -1, f"facts.{name} must be a") for name in
      ("bytes", "train_tokens", "val_tokens", "vocab_size", "entropy_per_char")),
])
def test_a_state_or_a_run_json_that_is_wrong_is_refused(copy, file, place, value, message):
    content, before = json.loads((copy / file).read_text()), (copy / "log.jsonl").read_bytes()
    *steps, name = place.split(".")
    functools.reduce(dict.__getitem__, steps, content)[name] = value
    (copy / file).write_text(json.dumps(content))
    if file == STATE and name != "digest":
        content.pop("digest")
        write_state(copy / file, content)  # with the right digest
    assert value == {} or file in refuses(re.escape(message), resumed_training, copy)
    assert (copy / "log.jsonl").read_bytes() == before


def test_a_setting_that_is_newer_than_a_run_has_its_usual_value_and_a_huge_model_takes_no_memory(copy):
    content = json.loads((copy / "run.json").read_text())
    del content["settings"]["train"]["clip"], content["settings"]["model"]["init_std"]
    content["settings"]["model"]["width"] = 2**23  # petabytes; the checkpoint's own model is used
    (copy / "run.json").write_text(json.dumps(content))
    config = tl.open_model(copy).config
    assert config.train.clip == 1.0 and config.model.init_std is None
    assert resumed_training(copy).model.config.width == 8
