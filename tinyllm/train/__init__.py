"""Train models: the training loop, objectives, recipes, optimizers, and the folder of a run."""

from tinyllm.train import recipes  # noqa: F401  importing them registers them
from tinyllm.train.config import RunConfig, TrainConfig, make_config
from tinyllm.train.fit import fit
from tinyllm.train.loop import Diverged, train
from tinyllm.train.muon import Muon, muon_groups
from tinyllm.train.objectives import next_token
from tinyllm.train.optimizer import SGD, AdamW, clip_grad_norm, decay_groups
from tinyllm.train.recipe import Plan
from tinyllm.train.run import Run, load_run
from tinyllm.train.schedule import SCHEDULES, learning_rate
from tinyllm.train.setup import TrainSetup, prepare, reopen

__all__ = [
    "SCHEDULES", "SGD", "AdamW", "Diverged", "Muon", "Plan", "Run", "RunConfig", "TrainConfig", "TrainSetup",
    "clip_grad_norm", "decay_groups", "fit", "learning_rate", "load_run", "make_config", "muon_groups",
    "next_token", "prepare", "reopen", "train",
]  # fmt: skip
