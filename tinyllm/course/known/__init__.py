"""What graders are graded with: right and wrong answers to the tasks that are no op.

An op's are functions, in `testing/mistakes` and `testing/alternatives`. Here are those of the other kinds: C,
property tests, and the capstone. A wrong one says which property is meant to reject it. The same lists serve
`course selftest`, the tests, and, for C, the checker that names a student's mistake. They stay in the
library: `course release` sends lessons, and nothing of this.
"""

import importlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """One answer to a task. text: the student's file.

    said: the mistake in it, or how it is done where it is right. breaks: words of the property that is meant
    to reject it, or of the verdict's message; empty where it is right. beside: (name, text) of other files.
    """

    said: str
    text: str
    breaks: str = ""
    beside: tuple = ()


@dataclass(frozen=True)
class Answers:
    """Answers to a task. file: what the file with their text is called; reference: one that is whole."""

    file: str
    reference: str
    right: tuple[Answer, ...]
    wrong: tuple[Answer, ...]


WHERE = {"c": "kernels", "tests": "suites", "run": "capstone"}


def answers(task):
    """The answers to a task of one of these kinds -> Answers."""
    return importlib.import_module(f"{__name__}.{WHERE[task.kind]}").answers(task)
