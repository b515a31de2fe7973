"""Define Gaps, a task in which a model writes the middle of a program; the program's tests score it."""

from collections.abc import Callable, Iterator

from tinyllm.errors import UserError
from tinyllm.eval.task import Item, WorldTask
from tinyllm.ops import split_middle
from tinyllm.rng import Random
from tinyllm.world.corpus import SEPARATOR


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
