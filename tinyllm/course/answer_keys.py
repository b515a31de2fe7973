"""Read right and wrong answers to exercises in C and to property tests, from answers.toml of the lessons.

`course selftest` tests the grader with these answers: a wrong answer says which property should reject it.
The checker uses the answers in C to name a student's mistake. The answers for ops are functions in `testing`,
and the answers to the capstone are in `classroom/capstone_answers.py`.
"""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tinyllm.course.syllabus import Exercise, find_lesson
from tinyllm.files import read_toml

NAMELESS = ("ran for more than", "does not compile", "it calls abort()")  # no output to compare


@dataclass(frozen=True)
class KeyAnswer:
    """A right or wrong answer to an exercise.

    text: the content of the student's file.
    sentence: names the mistake, or describes a right answer.
    breaks: words from the property or the message that should reject the answer; "" for a right answer.
    other_files: pairs (name, text).
    """

    sentence: str
    text: str
    breaks: str = ""
    other_files: tuple = ()


@dataclass(frozen=True)
class Answers:
    """Right and wrong answers to an exercise, the student's file name, a full solution (`reference`)."""

    file: str
    reference: str
    right: tuple[KeyAnswer, ...]
    wrong: tuple[KeyAnswer, ...]


@functools.cache
def read(number: int) -> dict[str, Any]:
    """Read the answers.toml of a lesson. The file explains its format."""
    return read_toml(find_lesson(number).path / "answers.toml")


def answers(task: Exercise) -> Answers:
    """Return the right and wrong answers to an exercise in C or to a property test."""
    return kernels(task.op) if task.kind == "c" else suites(task)


@functools.cache
def kernels(op: str) -> Answers:
    """Read the example kernels of an op in C, some right and some wrong on purpose."""
    found = read(10)[op]
    reference = found["reference"]
    wrong = tuple(KeyAnswer(said, edited(reference, zip(e[::2], e[1::2], strict=True)), breaks)
                  for said, breaks, *e in found["wrong"])
    return Answers("exercise.c", reference, tuple(KeyAnswer(*x) for x in found["right"]), wrong)


def edited(text: str, edits: Iterable[tuple[str, str]]) -> str:
    """Apply edits (old, new) to a text: replace every `old`. Raises ValueError if one does not occur."""
    for old, new in edits:
        if old not in text:
            raise ValueError(f"there is no {old!r} to change")
        text = text.replace(old, new)
    return text


@functools.cache
def catalogue(op: str) -> tuple[list[str], str]:
    """Return a sentence for each wrong kernel of an op, and one C file with all these kernels.

    The global variable `tinyllm_which` selects the kernel to run. Kernels that crash are left out. If a
    kernel gives the same wrong results as a student's, its sentence names the student's mistake.
    """
    chosen = [answer for answer in kernels(op).wrong if answer.breaks not in NAMELESS]
    found: Any = re.search(rf"void {op}\((.*?)\)", kernels(op).reference)
    signature = found[1]
    names = ", ".join(part.split()[-1].lstrip("*") for part in signature.split(","))
    pieces = [f"#define {op} wrong_{i}\n{x.text}#undef {op}\n" for i, x in enumerate(chosen)]
    table = ", ".join(f"wrong_{i}" for i in range(len(chosen)))
    pieces.append(f"int tinyllm_which;\nvoid {op}({signature}) {{\n"
                  f"    static void (*const all[])({signature}) = {{{table}}};\n"
                  f"    all[tinyllm_which]({names});\n}}\n")
    return [answer.sentence for answer in chosen], "".join(pieces)


def suites(task: Exercise) -> Answers:
    """Return right and wrong property tests of an op, for an exercise of lesson 11."""
    every = read(11)
    found = every[task.op]

    def text(body):
        body = body.replace("CALL", found["call"]).replace("LARGE", found["large"]).strip()
        return f"import math\n\nimport numpy as np\n\n\ndef {task.name}({task.op}):\n    {body}\n"

    listed = every["always"] + found["wrong"]
    wrong = tuple(KeyAnswer(said, text(body), breaks) for said, breaks, body in listed)
    right = tuple(KeyAnswer(said, text(body)) for said, body in found["right"])
    return Answers("exercise.py", every["reference"], right, wrong)
