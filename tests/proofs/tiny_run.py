"""Define a very short training run, for the tests of training and for verify_kills.py."""

import json

import numpy as np

from tinyllm.rng import Random
from tinyllm.runs import Run, make_config, prepare, reopen
from tinyllm.runs.log import read_log
from tinyllm.train.events import MEASURED

SETTINGS = {
    "preset": "nano",
    "model.context": 8,
    "model.layers": 1,
    "model.heads": 2,
    "model.width": 8,
    "model.dropout": 0.1,
    "train.steps": 12,
    "train.batch": 4,
    "train.eval_every": 4,
    "train.eval_windows": 6,
    "train.log_every": 3,
    "train.checkpoint_every": 5,
    "train.sample_every": 6,
    "train.sample_tokens": 12,
}


FAMILIES = "gpt", "llama", "mixtral", "t5"


def in_pieces(family, **more):
    """Return settings of a family with batches in five pieces, which 2 to 4 processes cannot share evenly."""
    settings = SETTINGS | {"model.type": family, "train.batch": 10, "train.accumulate": 5, "train.clip": 0.5}
    if family in ("llama", "mixtral"):  # which have no dropout
        del settings["model.dropout"]
        settings |= {"model.heads": 4, "model.width": 16, "model.hidden": 24}
    return settings | ({"model.balance": 0.1} if family == "mixtral" else {}) | _dotted(more)


def write_text(path, words=2000):
    """Write a text of random words and return its path."""
    random = Random("tiny run")
    path.write_text(" ".join(random.choice(["the", "cat", "sat", "on", "a", "mat.\n"]) for _ in range(words)))
    return path


class Training:
    """A run with its setup; iterating over it trains the model."""

    def __init__(self, run, setup, resume=False):
        self.run, self.setup, self.model = run, setup, setup.model
        self.loop = setup.train(run, resume)

    def __iter__(self):
        return iter(self.loop)


def new_training(folder, text, **settings):
    """Start a run in `folder`; keyword arguments are settings with __ for the dot, `...` leaves one out."""
    settings = SETTINGS | {"data": str(text)} | _dotted(settings)
    return Training(*created(folder, {name: x for name, x in settings.items() if x is not ...}))


def begun(folder, base, data, **settings):
    """Return a new run and its setup, with the weights and the train.* settings of the run `base`."""
    of_base = Run(base).read().config.flat()
    settings = {name: value for name, value in of_base.items() if name.startswith("train.")} | settings
    return created(folder, {"data": str(data), "start": str(base)} | settings)


def created(folder, settings):
    """Return a new run with these settings, and its setup."""
    run, setup = Run(folder), prepare(make_config(settings))
    run.create(setup.record(), setup.tokenizer)
    return run, setup


def resumed_training(folder, **settings):
    """Open a run again and go to its last checkpoint."""
    run = Run(folder)
    setup = reopen(run, make_config(run.read().config.flat() | _dotted(settings)))
    return Training(run, setup, resume=True)


def _dotted(settings):
    return {name.replace("__", "."): value for name, value in settings.items()}


def same(model, other):
    """Return True if two models have the same weights."""
    return all(np.array_equal(a, other.state_dict()[name]) for name, a in model.state_dict().items())


def outcome(folder):
    """Return all results of a run that must be equal bit for bit, however often it was interrupted."""
    run = Run(folder)
    files = {}
    for path in sorted(run.checkpoints.rglob("*.safetensors")):
        files[str(path.relative_to(run.folder))] = path.read_bytes()
    for path in sorted(run.checkpoints.rglob("state.json")):
        state = json.loads(path.read_text())
        progress = {k: v for k, v in state["progress"].items() if "seconds" not in k}
        files[str(path.relative_to(run.folder))] = (state["sha256"], progress)
    log = [{k: v for k, v in record.items() if k not in MEASURED} for record in read_log(run.log.path)]
    return files, log
