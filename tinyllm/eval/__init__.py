"""Ask a trained model questions whose answers can be scored."""

from tinyllm.eval.ask import Answer, answers, interval, likeliest, measure
from tinyllm.eval.gaps import Gaps
from tinyllm.eval.task import Item, Task, WorldTask, find_task

__all__ = ["Answer", "Gaps", "Item", "Task", "WorldTask", "answers", "find_task", "interval", "likeliest",
           "measure"]
