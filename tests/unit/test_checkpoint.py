"""Checkpoints are whole or not there and never trusted: each cut, flipped bit or foreign file is one line."""

import errno
import functools
import json
import os
import shutil

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_run import new_training, outcome, resumed_training, write_text

from tinyllm.errors import UserError
from tinyllm.tokenizer import CharTokenizer, save_tokenizer
from tinyllm.train import Run, events, load_run
from tinyllm.train.checkpoint import list_checkpoints, prune_checkpoints, read_state, save_checkpoint


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("text") / "text.txt")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("trained") / "run"
    list(new_training(folder, text))
    return folder


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of a run, to be ill-treated; and its last checkpoint."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run", Run(tmp_path / "run").last_checkpoint()


def refused(action, *words):
    with pytest.raises(UserError) as caught:
        action()
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_loaded_model_is_the_trained_one(tmp_path, text):
    training = new_training(tmp_path / "run", text)
    list(training)
    model, tokenizer, config = load_run(tmp_path / "run", "last")
    for name, array in training.model.state_dict().items():
        assert np.array_equal(array, model.state_dict()[name])
    assert not model.training
    assert tokenizer.fingerprint() == training.setup.tokenizer.fingerprint()
    assert config == training.setup.config


def test_the_files_are_safetensors_that_the_library_reads(trained):
    model, _, _ = load_run(trained, "last")
    arrays = safetensors.numpy.load_file(Run(trained).last_checkpoint() / "model.safetensors")
    assert sum(array.size for array in arrays.values()) == model.num_parameters()


FILES = {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json",
         "optimizer.safetensors", "state.json"}  # fmt: skip


class Killed(BaseException):
    """The process ends here: nothing that would tidy up gets to run."""


class Full:
    """A file whose every write is a step that may fail half-way."""

    def __init__(self, file, step):
        self.file, self.step = file, step

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.file.close()

    def write(self, data):
        if len(memoryview(data.encode() if isinstance(data, str) else data)) > 1:
            self.file.write(data[:1])  # a full disk takes a part
        self.step("write")
        self.file.seek(0, os.SEEK_END)
        return self.file.write(data[1:]) + 1


def fail_at(monkeypatch, number, error=OSError):
    """Let the number-th call that writes something fail as on a full disk; return the list of calls made."""
    calls = []

    def step(name):
        calls.append(name)
        if len(calls) - 1 == number:
            raise error(errno.ENOSPC, os.strerror(errno.ENOSPC))

    real_open = open

    def opened(path, mode="r", *args, **kwargs):
        file = real_open(path, mode, *args, **kwargs)
        if mode[0] in "wax":
            step("open")
            return Full(file, step)
        return file

    def counted(name, function):
        def call(*args, **kwargs):
            step(name)
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr("builtins.open", opened)
    for name in ("fsync", "replace", "rename", "mkdir", "unlink"):
        monkeypatch.setattr(os, name, counted(name, getattr(os, name)))
    return calls


@pytest.fixture
def saving(tmp_path, text, monkeypatch):
    """A run that has saved step 5, a function that saves step 6 and fails at write n, and all its writes."""
    folder, backup = tmp_path / "run", tmp_path / "backup"
    training = new_training(folder, text)
    for event in training:
        if isinstance(event, events.Saved) and event.step == 5:
            break
    training.loop.train_step()
    shutil.copytree(folder, backup)

    def save(number=-1, error=OSError):
        shutil.rmtree(folder)
        shutil.copytree(backup, folder)
        with monkeypatch.context() as patch:
            calls = fail_at(patch, number, error)
            training.loop.save()
        return calls

    return folder, save, save()


def test_everything_is_on_the_disk_before_it_counts(saving):
    """Every file is flushed before it is renamed, and the folder after: a power cut finds old or new."""
    folder, _, calls = saving
    assert {"open", "write", "fsync", "replace", "rename", "mkdir"} <= set(calls)
    assert list(list_checkpoints(folder / "checkpoints")) == [4, 6]  # the best and the last
    for i, name in enumerate(calls):
        if name == "replace":
            assert calls[i - 1] == calls[i + 1] == "fsync", i
    named = calls.index("rename")
    assert calls[named + 1] == "fsync"
    assert "write" not in calls[named:]


def test_a_full_disk_at_any_step_of_a_save_loses_nothing(saving):
    folder, save, calls = saving
    for number in range(calls.index("rename") + 2):  # what follows is only the deletion of old checkpoints
        if calls[number] == "unlink":  # of a temporary file that has got its name already
            continue
        if calls[number] == "mkdir" and "mkdir" in calls[:number]:  # of a folder that is there already
            continue
        refused(lambda number=number: save(number), os.strerror(errno.ENOSPC))
        assert list(list_checkpoints(folder / "checkpoints"))[:2] == [4, 5], number
        assert not list((folder / "checkpoints").glob(".*")), number
        resumed_training(folder)  # whatever stands there can be read


def test_killed_at_any_step_of_a_save_nothing_is_lost(saving):
    folder, save, calls = saving
    for number, name in enumerate(calls):
        with pytest.raises(Killed):
            save(number, Killed)
        for path in list_checkpoints(folder / "checkpoints").values():
            assert set(os.listdir(path)) == FILES, (number, name)
        assert resumed_training(folder).loop.progress.step in (5, 6), (number, name)
        assert not list((folder / "checkpoints").glob(".*"))


def test_training_goes_on_after_a_full_disk(tmp_path, text, trained, monkeypatch):
    training = new_training(tmp_path / "run", text)
    with pytest.raises(UserError, match="make room"):
        for event in training:
            if isinstance(event, events.Saved):
                with monkeypatch.context() as patch:
                    fail_at(patch, 5)
                    training.loop.train_step()
                    training.loop.save()
    list(resumed_training(tmp_path / "run"))
    assert outcome(tmp_path / "run") == outcome(trained)


@given(st.data())
@settings(max_examples=80)
def test_no_damage_goes_unseen(tmp_path_factory, trained, data):
    """Cut any file of a run anywhere, change any byte: a line that names it, or the very same model."""
    folder = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(trained, folder)
    run = Run(folder)
    files = [run.last_checkpoint() / name for name in sorted(FILES)] + [run.tokenizer]
    path = data.draw(st.sampled_from(files))
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:at]
    else:
        content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        training = resumed_training(folder)
    except UserError as error:
        assert path.name in str(error) and "\n" not in str(error)
        return
    for name, array in load_run(trained, "last")[0].state_dict().items():
        assert np.array_equal(training.model.state_dict()[name], array), path.name


def test_missing_parts_are_named(copy):
    folder, checkpoint = copy
    for name in FILES:
        (checkpoint / name).rename(checkpoint / "away")
        refused(lambda: resumed_training(folder), name)
        (checkpoint / "away").rename(checkpoint / name)
    shutil.rmtree(folder / "checkpoints")
    refused(lambda: load_run(folder), "no checkpoint")
    refused(lambda: load_run(folder / "nowhere"), "no run")


def replace_weights(checkpoint, change):
    """Put other weights into a checkpoint, with hashes that agree, as another program might."""
    state = read_state(checkpoint)
    checkpoint.rename(checkpoint.with_name("away"))

    def write(folder):
        for file in checkpoint.with_name("away").iterdir():
            shutil.copy(file, folder)
        (folder / "state.json").unlink()
        arrays = safetensors.numpy.load_file(folder / "model.safetensors")
        safetensors.numpy.save_file(change(arrays), folder / "model.safetensors")

    save_checkpoint(checkpoint.parent, state["step"], write, {}, {"progress": state["progress"]})
    shutil.rmtree(checkpoint.with_name("away"))


def test_weights_with_nan_or_of_other_shapes_are_refused(copy):
    folder, checkpoint = copy

    name = next(iter(safetensors.numpy.load_file(checkpoint / "model.safetensors")))

    def spoilt(arrays):
        arrays[name][1, 2] = np.nan
        return arrays

    replace_weights(checkpoint, spoilt)
    refused(lambda: load_run(folder, "last"), "model.safetensors", "not finite", name)
    replace_weights(checkpoint, lambda arrays: {k: np.ascontiguousarray(v[:1]) for k, v in arrays.items()})
    refused(lambda: load_run(folder, "last"), "model.safetensors", "shape")
    replace_weights(checkpoint, lambda arrays: {k: v for k, v in arrays.items() if k != name})
    refused(lambda: load_run(folder, "last"), "model.safetensors", name)


def test_another_tokenizer_is_refused(copy):
    folder, _ = copy
    save_tokenizer(CharTokenizer.train(b"abcdefgh"), folder / "tokenizer.json")
    refused(lambda: load_run(folder), "tokenizer.json", "trained with")
    refused(lambda: resumed_training(folder), "tokenizer.json")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"settings": {}}', "null", '{"settings": {}, "facts": {}, "notes": []}']
)
def test_a_broken_run_json_is_refused(copy, content):
    folder, _ = copy
    (folder / "run.json").write_text(content)
    refused(lambda: load_run(folder), "run.json")


@pytest.mark.parametrize("content", ["[]", "[1]", "null", "{}"])
def test_what_run_json_lacks_is_named(copy, content):
    folder, _ = copy
    (folder / "run.json").write_text(content)
    refused(lambda: load_run(folder), "run.json is damaged: it holds no settings")


def test_settings_and_facts_of_the_wrong_kind_are_refused(copy):
    folder, _ = copy
    whole = json.loads((folder / "run.json").read_text())
    for path, value in [("settings.train.steps", "many"), ("settings.model.heads", "two"),
                        ("settings.seed", "s"),
                        ("settings.model.width", -1), ("facts.vocab_size", "x"), ("settings.train.lr", None),
                        ("settings.model", 3), ("facts", []), ("settings.model.type", "elephant"),
                        ("settings.recipe", "elephant"), ("notes", 3)]:  # fmt: skip
        broken = json.loads(json.dumps(whole))
        *steps, name = path.split(".")
        functools.reduce(dict.__getitem__, steps, broken)[name] = value
        (folder / "run.json").write_text(json.dumps(broken))
        refused(lambda: load_run(folder), "run.json is damaged")


def test_a_run_of_the_first_layout_is_refused_with_the_command_that_trains_again(copy):
    folder, _ = copy
    old = {
        "data": "my text.txt",
        "tokenizer": "char",
        "preset": "nano",
        "seed": 3,
        "train": {"steps": 5},
        "found": {},
    }
    (folder / "config.json").write_text(json.dumps(old))
    (folder / "run.json").unlink()
    command = (
        f"tinyllm train --data 'my text.txt' --tokenizer char --preset nano --steps 5 --seed 3 --out {folder}"
    )
    for action in (lambda: load_run(folder), lambda: resumed_training(folder)):
        refused(action, "older version", command, "--overwrite")
    with Run(folder).rewritten():
        pass
    assert not (folder / "config.json").exists()


def test_pruning_keeps_what_it_is_told_and_clears_leftovers(tmp_path):
    for step in (1, 2, 30):
        save_checkpoint(tmp_path, step, lambda folder: None, {"model": {"w": np.zeros(3, np.float32)}}, {})
    (tmp_path / ".step-00000040.123.tmp").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "step-abc").mkdir()
    prune_checkpoints(tmp_path, keep={2, None})
    assert sorted(os.listdir(tmp_path)) == ["notes.txt", "step-00000002", "step-abc"]
    assert list(list_checkpoints(tmp_path)) == [2]
