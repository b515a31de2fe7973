"""Training: the loop, its schedules, its optimizer, and the folder in which a run lives and survives."""

from tinyllm.train.checkpoint import load_arrays, save_checkpoint
from tinyllm.train.config import RunConfig, TrainConfig
from tinyllm.train.optimizer import AdamW, clip_grad_norm, decay_groups
from tinyllm.train.run import Experiment, Run, load_run, prepare, reopen
from tinyllm.train.schedule import SCHEDULES, learning_rate
from tinyllm.train.settings import make_config
from tinyllm.train.trainer import Trainer

__all__ = [
    "SCHEDULES",
    "AdamW",
    "Experiment",
    "Run",
    "RunConfig",
    "TrainConfig",
    "Trainer",
    "clip_grad_norm",
    "decay_groups",
    "learning_rate",
    "load_arrays",
    "load_run",
    "make_config",
    "prepare",
    "reopen",
    "save_checkpoint",
]
