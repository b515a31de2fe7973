"""Ask trained models questions whose answers can be scored, and say how sure the scores are."""

from tinyllm.eval.agent import tools_of, with_tools
from tinyllm.eval.ask import Answer, answers, likeliest
from tinyllm.eval.gaps import Gaps
from tinyllm.eval.metrics import METRICS, find_metric
from tinyllm.eval.retrieval import Index, attribution, passages_of
from tinyllm.eval.statistics import paired
from tinyllm.eval.suite import Evaluation, Row, Suite, compare, read_suite
from tinyllm.eval.task import Item, RecordTask, Task, WorldTask, find_task

__all__ = ["METRICS", "Answer", "Evaluation", "Gaps", "Index", "Item", "RecordTask", "Row", "Suite",
           "Task", "WorldTask", "answers", "attribution", "compare", "find_metric", "find_task",
           "likeliest", "paired", "passages_of", "read_suite", "tools_of", "with_tools"]
