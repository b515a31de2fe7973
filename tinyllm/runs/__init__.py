"""Run trainings: settings, recipes, and the folder in which a run keeps everything."""

from tinyllm.runs.config import RunConfig, make_config
from tinyllm.runs.opened import Opened, open_model
from tinyllm.runs.recipe import Parts
from tinyllm.runs.run import Record, Run
from tinyllm.runs.setup import TrainSetup, prepare, reopen

__all__ = ["Opened", "Parts", "Record", "Run", "RunConfig", "TrainSetup", "make_config", "open_model",
           "prepare", "reopen"]
