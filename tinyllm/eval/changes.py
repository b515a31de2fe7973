"""Change the questions of a task, to see if answers change with them; or cut a gap into programs, to fill."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from tinyllm.errors import UserError, did_you_mean
from tinyllm.eval.task import Item, Task, WorldTask, find_task
from tinyllm.ops import split_middle
from tinyllm.rng import Random
from tinyllm.world.corpus import SEPARATOR

SLIPS = 0.05  # of the letters of a question


def typos(text: str, random: Random) -> str:
    """Exchange some letters inside words with their neighbours."""
    letters = list(text)
    for i in range(1, len(letters) - 2):
        if letters[i].isalpha() and letters[i + 1].isalpha() and random.happens(SLIPS):
            letters[i], letters[i + 1] = letters[i + 1], letters[i]
    return "".join(letters)


def capitals(text: str, random: Random) -> str:
    """Write a question in capital letters."""
    return text.upper()


def aside(text: str, random: Random) -> str:
    """Put a sentence before a question that has nothing to do with it."""
    weather = random.choice(("It rained all night.", "The market opens at nine.", "A cat sat on the wall."))
    return f"{weather} {text}"


def body(text: str, random: Random) -> tuple[str, str]:
    """Cut out all lines of a function's body -> (text before the gap, text after it)."""
    return "\n", ""


def line(text: str, random: Random) -> tuple[str, str]:
    """Cut out one line of a function's body -> (text before the gap, text after it)."""
    lines = text.splitlines(keepends=True)  # line 0 is the rest of the docstring's line
    at = 1 + random.integers(len(lines) - 1)
    return "".join(lines[:at]), "".join(lines[at + 1 :])


def anywhere(text: str, random: Random) -> tuple[str, str]:
    """Cut at two places anywhere -> (text before the gap, text after it)."""
    before, _, after = split_middle(text, tuple(random.uniform(2).tolist()))
    return before, after


CUTS = {"body": body, "line": line, "anywhere": anywhere}


class Gaps(WorldTask):
    """Programs with a part cut out: the question ends at the gap, and the answer is what was cut out.

    cut: a function of a program's body and a Random, such as `line`.
    """

    def __init__(self, name: str, cut: Callable[[str, Random], tuple[str, str]]):
        if name.partition(",")[0] != "world:program":
            raise UserError(f"only programs have parts to cut out: ask world:program in place of {name}")
        super().__init__(name)
        self.cut = cut

    def items(self, split: str) -> Iterator[Item]:
        """Yield the programs of a split, each with a gap."""
        for i, document in enumerate(self.documents(split)):
            before, after = self.cut(document.answer, Random(i, self.cut.__name__))
            middle = document.answer[len(before) : len(document.answer) - len(after)]
            source = document, before, after
            yield Item(document.prompt + before, middle, middle, suffix=after + SEPARATOR, source=source)

    def score(self, item: Item, answer: str) -> float:
        """Return 1.0 if the program with the answer in its gap passes its tests, else 0.0."""
        document, before, after = item.source
        return self.kind.score_answer(before + answer + after, document)


SHOTS = "shots"  # not the question changes, but the solved items before it
CHANGES: dict[str, Callable[[str, Random], str]] = {"typos": typos, "capitals": capitals, "aside": aside}


def changed(task: Task, name: str, limit: int) -> tuple[Task, list[Item]]:
    """Return a task whose questions are changed, and its first test items; "" and SHOTS change nothing.

    A name such as negated=true sets a dial of the task, which should ask about the same in another way.
    Raises UserError when there is no change of this name, or the task has no programs to cut.
    """
    known = [*CHANGES, *CUTS, SHOTS]
    if "=" in name:
        task = find_task(f"{task.name},{name}")
    elif name and name not in known:
        hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
        raise UserError(f"there is no change of questions called {name!r}{hint}")
    if name in CUTS:
        task = Gaps(task.name, CUTS[name])
    items = [*islice(task.items("test"), limit)]
    if name in CHANGES:
        items = [replace(item, question=CHANGES[name](item.question, Random(i, name)))
                 for i, item in enumerate(items)]
    return task, items
