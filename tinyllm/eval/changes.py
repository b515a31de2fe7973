"""Change the questions of a task, to see whether a model's answers change with them."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

from tinyllm.errors import unknown
from tinyllm.eval.gaps import CUTS, Gaps
from tinyllm.eval.task import Item, Task, find_task
from tinyllm.rng import Random

SLIPS = 0.05  # of the letters of a question


def typos(text: str, random: Random) -> str:
    """Exchange some letters inside words with their neighbours."""
    letters = list(text)
    for i in range(1, len(letters) - 2):
        if letters[i].isalpha() and letters[i + 1].isalpha() and random.happens(SLIPS):
            letters[i], letters[i + 1] = letters[i + 1], letters[i]
    return "".join(letters)


SHOTS = "shots"  # not the question changes, but the solved items before it
ASIDES = "It rained all night.", "The market opens at nine.", "A cat sat on the wall."
CHANGES: dict[str, Callable[[str, Random], str]] = {
    "typos": typos, "capitals": lambda text, random: text.upper(),
    "aside": lambda text, random: f"{random.choice(ASIDES)} {text}"}


def changed(task: Task, name: str, limit: int) -> tuple[Task, list[Item]]:
    """Return a task whose questions are changed, and its first test items; "" and SHOTS change nothing.

    A name such as negated=true sets a dial of the task, which should ask about the same in another way.
    Raises UserError when there is no change of this name, or the task has no programs to cut.
    """
    known = [*CHANGES, *CUTS, SHOTS]
    if "=" in name:
        task = find_task(f"{task.name},{name}")
    elif name in CUTS:
        task = Gaps(task.name, CUTS[name])
    elif name and name not in known:
        raise unknown("change of questions", name, known)
    items = [*islice(task.items("test"), limit)]
    if name in CHANGES:
        items = [replace(item, question=CHANGES[name](item.question, Random(i, name)))
                 for i, item in enumerate(items)]
    return task, items
