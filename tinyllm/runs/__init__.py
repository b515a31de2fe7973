"""Run trainings: settings, recipes, and the folder in which a run keeps everything."""

from tinyllm.runs.config import RunConfig, make_config
from tinyllm.runs.log import read_log
from tinyllm.runs.opened import Opened, open_model
from tinyllm.runs.plan import Plan
from tinyllm.runs.recipe import Parts, find_recipe
from tinyllm.runs.run import Record, Run, list_runs
from tinyllm.runs.setup import TrainSetup, prepare, reopen

__all__ = ["Opened", "Parts", "Plan", "Record", "Run", "RunConfig", "TrainSetup", "find_recipe", "list_runs",
           "make_config", "open_model", "prepare", "read_log", "reopen"]
