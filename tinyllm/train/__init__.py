"""Train models: the loop, objectives, optimizers and schedules."""

from tinyllm.train.config import TrainConfig, learning_rate
from tinyllm.train.fit import fit, loop_of
from tinyllm.train.group import ALONE, Group
from tinyllm.train.loop import Diverged, Loop, train
from tinyllm.train.muon import Muon, muon_groups
from tinyllm.train.objectives import next_token
from tinyllm.train.optimizer import AdamW, MasterAdamW, clip_grad_norm, decay_groups

__all__ = [
    "ALONE", "AdamW", "Diverged", "Group", "Loop", "MasterAdamW", "Muon", "TrainConfig", "clip_grad_norm",
    "decay_groups", "fit", "learning_rate", "loop_of", "muon_groups", "next_token", "train",
]
