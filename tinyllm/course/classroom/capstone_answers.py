"""Make right and wrong submissions of the capstone, to test the grader with them.

All consist of the library's own functions. A wrong submission redefines a function at the end of the file,
or leaves one out. The wrong functions are in the lesson's answers.toml.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from tinyllm.course.answer_keys import Answers, KeyAnswer, read
from tinyllm.course.capstone import ALONE, PARTS, expected, seeds, setup
from tinyllm.course.reference_solution import source
from tinyllm.course.syllabus import find_lesson
from tinyllm.files import read_text
from tinyllm.ops.registry import OPS
from tinyllm.testing import VARIANTS


def parts(functions: dict[str, Callable[..., Any]]) -> str:
    """Return the text of a file with the functions {op: function} and the library code that they use."""
    names = "".join(f"{op} = {f.__name__}\n" for op, f in functions.items() if f.__name__ != op)
    return source(functions.values()) + "\n" + names


def references(without: Sequence[str] = ()) -> dict[str, Callable[..., Any]]:
    """Return {op: the library's function} for the ops of the capstone, except those in `without`."""
    return {op: OPS[op].reference for op in PARTS if op not in without}


def variants(which: int) -> dict[str, Callable[..., Any]]:
    """Return {op: function} for the capstone: right, but not written as the library's; `which` chooses."""
    return {op: VARIANTS[op][which % len(VARIANTS[op])] for op in PARTS}


def by_heart() -> str:
    """Return the text of a file that returns hard-coded losses and computes nothing."""
    known = {float(setup(seed).model.wte.weight.data[0, 0]): list(map(float, expected(seed)))
             for seed in seeds(0).values()}
    return read(12)["by_heart"].replace("LOSSES", repr(known))


def capstone_answers() -> Answers:
    """Return right and wrong answers to the capstone."""
    whole, stub = parts(references()), read_text(find_lesson(12).path / "exercise.py")
    report = ("report.json", json.dumps({"lesson": 12, "reached": True, "missing": []}))
    wrong = [KeyAnswer(said, whole + text, breaks) for said, breaks, text in read(12)["wrong"]]
    wrong += [
        KeyAnswer("a report of what was never trained", stub, ALONE.format("softmax"), (report,)),
        KeyAnswer("the library's losses learnt by heart", by_heart(), ALONE.format("attention")),
        KeyAnswer("the library's own softmax", whole + "from tinyllm.ops import softmax\n",
                  "No module named"),
        KeyAnswer("a part that is left out", parts(references(["attention"])),
                  "still the library's: attention"),
    ]
    right = [KeyAnswer(f"every part written otherwise, the {nth} way", parts(variants(i)))
             for i, nth in enumerate(("first", "second"))]
    return Answers("exercise.py", whole, tuple(right), tuple(wrong))
