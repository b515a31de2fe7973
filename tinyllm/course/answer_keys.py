"""Collect right and wrong answers to all exercises, with which `course selftest` tests the grader.

For ops they come from `testing`, else from answers.toml. A wrong one names the property that rejects it.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tinyllm.course.reference_solution import solved, source
from tinyllm.course.stubs import edited
from tinyllm.course.syllabus import Exercise, find_lesson
from tinyllm.files import read_toml
from tinyllm.ops.registry import OPS
from tinyllm.testing import MISTAKES, VARIANTS


@dataclass(frozen=True)
class KeyAnswer:
    """A right or wrong answer to an exercise.

    sentence: names the mistake, or describes a right answer.
    text: the content of a student's file. function: a function of the library to check instead of a file.
    breaks: words from the property or the message that should reject the answer; "" for a right answer.
    """

    sentence: str
    text: str = ""
    breaks: str = ""
    function: Callable[..., Any] | None = None


@dataclass(frozen=True)
class Answers:
    """Right and wrong answers to an exercise; `reference` is the text of a full solution."""

    reference: str
    right: tuple[KeyAnswer, ...]
    wrong: tuple[KeyAnswer, ...]


@functools.cache
def read(number: int) -> dict[str, Any]:
    """Read the answers.toml of a lesson. The file explains its format."""
    return read_toml(find_lesson(number).path / "answers.toml")


def answers(task: Exercise) -> Answers:
    """Return the right and wrong answers to an exercise of any kind."""
    return {"op": functions, "c": kernels, "tests": suites, "run": models}[task.kind](task)


def functions(task: Exercise) -> Answers:
    """Return the known mistakes of an op as wrong answers, and its variants as right ones."""
    wrong = tuple(KeyAnswer(said, breaks=f.breaks, function=f) for said, f in MISTAKES.get(task.op, ()))
    right = tuple(KeyAnswer(f.__name__, function=f) for f in VARIANTS.get(task.op, ()))
    return Answers(solved(task), right, wrong)


def kernels(task: Exercise) -> Answers:
    """Return right and wrong kernels of an op in C."""
    found = read(10)[task.op]
    reference = found["reference"]
    wrong = tuple(KeyAnswer(said, edited(reference, *changes), breaks)
                  for said, breaks, *changes in found["wrong"])
    return Answers(reference, tuple(KeyAnswer(*x) for x in found["right"]), wrong)


def suites(task: Exercise) -> Answers:
    """Return a right and several wrong property tests of an op, for an exercise of lesson 11."""
    found, always = read(11)[task.op], read(11)["always"]

    def text(body):
        body = body.replace("CALL", found["call"]).replace("LARGE", found["large"]).strip()
        return f"import math\n\nimport numpy as np\n\n\ndef {task.name}({task.op}):\n    {body}\n"

    wrong = tuple(KeyAnswer(said, text(body), breaks) for said, breaks, body in always + found["wrong"])
    return Answers(text(found["reference"]), (), wrong)


def models(task: Exercise) -> Answers:
    """Return answers to the capstone, made from library functions; wrong ones lack or redefine some."""
    whole, found = parts({op: OPS[op].reference for op in task.parts}), read(12)
    wrong = [KeyAnswer(said, whole + text, breaks) for said, breaks, text in found["wrong"]]
    wrong += [KeyAnswer(said, f"{whole}right = {op}\n{op} = {code}\n", f"right by itself: {op}")
              for op, (said, code) in found["alone"].items()]
    most = parts({op: OPS[op].reference for op in task.parts if op != "attention"})
    wrong.append(KeyAnswer("a part that is left out", most, "still the library's: attention"))
    right = [KeyAnswer(f"every part written otherwise, the {nth} way",
                       parts({op: VARIANTS[op][i % len(VARIANTS[op])] for op in task.parts}))
             for i, nth in enumerate(("first", "second"))]
    return Answers(whole, tuple(right), tuple(wrong))


def parts(functions: dict[str, Callable[..., Any]]) -> str:
    """Return the text of a file with the functions {op: function} and the library code that they use."""
    names = "".join(f"{op} = {f.__name__}\n" for op, f in functions.items() if f.__name__ != op)
    return source(functions.values()) + "\n" + names
