"""Answers to the tasks that are no op, to grade graders with: answers.toml in the lessons' folders.

An op's answers are functions, in testing/. Here are those in C and those that are property tests; the
capstone's are in `classroom/capstone_answers.py`. A wrong answer says which property should reject it. The
same lists serve `course selftest`, the tests, and, for C, the checker that names a student's mistake.
"""

import functools
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tinyllm.course.syllabus import Task, find_lesson

INSIDE = "it stays inside its arrays"
NAMELESS = ("did not come to an end", "does not compile", "it calls abort()")  # no output to compare


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


@functools.cache
def read(number: int) -> dict[str, Any]:
    """Read the answers of a lesson -> dict; the file says how they are written."""
    return tomllib.loads((find_lesson(number).path / "answers.toml").read_text("utf-8"))


def answers(task: Task) -> Answers:
    """Return the answers to a task in C or to one that is a property test -> Answers."""
    return kernels(task.op) if task.kind == "c" else suites(task)


@functools.cache
def kernels(op: str) -> Answers:
    """Return right and wrong kernels of an op -> Answers."""
    found = read(10)[op]
    reference = found["reference"]
    wrong = tuple(Answer(said, edited(reference, zip(e[::2], e[1::2], strict=True)), breaks)
                  for said, breaks, *e in found["wrong"])  # fmt: skip
    return Answers("exercise.c", reference, tuple(Answer(*x) for x in found["right"]), wrong)


def edited(text: str, edits: Iterable[tuple[str, str]]) -> str:
    """Replace some parts of a text. Raises ValueError where it has no such part."""
    for old, new in edits:
        if old not in text:
            raise ValueError(f"there is no {old!r} to change")
        text = text.replace(old, new)
    return text


def catalogue(op: str) -> tuple[list[str], str]:
    """Return all wrong kernels that give an output, as one C file -> (their sentences, the source).

    `tinyllm_which` chooses the one that stands behind the op's name.
    """
    chosen = [answer for answer in kernels(op).wrong if answer.breaks not in NAMELESS]
    found: Any = re.search(rf"void {op}\((.*?)\)", kernels(op).reference)
    signature = found[1]
    names = ", ".join(part.split()[-1].lstrip("*") for part in signature.split(","))
    pieces = [f"#define {op} wrong_{i}\n{x.text}#undef {op}\n" for i, x in enumerate(chosen)]
    table = ", ".join(f"wrong_{i}" for i in range(len(chosen)))
    pieces.append(f"int tinyllm_which;\nvoid {op}({signature}) {{\n"
                  f"    static void (*const all[])({signature}) = {{{table}}};\n"
                  f"    all[tinyllm_which]({names});\n}}\n")  # fmt: skip
    return [answer.said for answer in chosen], "".join(pieces)


def suites(task: Task) -> Answers:
    """Return right and wrong property tests of a function -> Answers."""
    every = read(11)
    found = every[task.op]

    def text(body):
        body = body.replace("CALL", found["call"]).replace("LARGE", found["large"]).strip()
        return f"import math\n\nimport numpy as np\n\n\ndef {task.name}({task.op}):\n    {body}\n"

    wrong = tuple(Answer(said, text(body), breaks) for said, breaks, body in every["always"] + found["wrong"])
    right = tuple(Answer(said, text(body)) for said, body in found["right"])
    return Answers("exercise.py", every["reference"], right, wrong)
