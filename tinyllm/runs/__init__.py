"""Run trainings: settings, recipes, and the folder in which a run keeps everything."""

from tinyllm.runs import recipes  # noqa: F401  importing them registers them
from tinyllm.runs.config import RunConfig, make_config
from tinyllm.runs.recipe import Plan
from tinyllm.runs.run import Run, load_run
from tinyllm.runs.setup import TrainSetup, prepare, reopen

__all__ = ["Plan", "Run", "RunConfig", "TrainSetup", "load_run", "make_config", "prepare", "reopen"]
