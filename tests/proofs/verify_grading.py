"""Check that a class is graded in time.

    python tests/proofs/verify_grading.py [--quick]

Thirty submissions of all lessons (--quick: two), mixed with a fixed seed: half of the exercises are right,
written differently from the library; three in ten hold a known mistake; the others are untouched. The figure
is the seconds that `tinyllm course grade` takes, with one submission per core at a time. The first submission
is right throughout, and must have all points.
"""

import ast
import contextlib
import csv
import random
import sys
import tempfile
import time
from pathlib import Path

from tinyllm.cli import main as tinyllm
from tinyllm.course.answer_keys import answers
from tinyllm.course.reference_solution import STANDARD, collect, text_of
from tinyllm.course.syllabus import syllabus
from tinyllm.ops.registry import OPS
from tinyllm.testing.edits import Edit, edit_trees

COURSE = 'title = "All"\nseed = 20261125\nvariants = 4\n'
KINDS = {"right": 5, "wrong": 3, "untouched": 2}


def answer(task, kind, rng):
    """Return the text of an answer to an exercise, right or wrong."""
    known = answers(task)
    if kind == "reference" or (kind == "right" and not known.right):
        return known.reference
    chosen = rng.choice(known.right if kind == "right" else known.wrong)
    function, trees = chosen.function, {}
    if not function:
        return chosen.text
    if isinstance(function, Edit):
        trees = edit_trees(function.__name__, *function.changes)
    found = collect(OPS[task.op].reference if trees else function, {})
    texts = {name: text_of(name, value) for name, value in found.items()}
    texts |= {each.__name__: ast.unparse(tree) for each, tree in trees.items()}
    return STANDARD + "\n\n".join(reversed(texts.values())) + f"\n\n{task.name} = {function.__name__}\n"


def hand_in(folder, lesson, kinds, rng):
    """Write one student's work on one lesson."""
    folder.mkdir(parents=True)
    pairs = zip(lesson.tasks, kinds, strict=True)
    written = [answer(task, kind, rng) for task, kind in pairs if kind != "untouched"]
    for path in lesson.path.glob("exercise.*"):
        parts = written if path.name == lesson.exercise else []
        if not (parts and path.suffix == ".c"):  # C has each function once
            parts = [path.read_text("utf-8"), *parts]
        (folder / path.name).write_text("\n\n".join(parts), "utf-8")


def main():
    count, rng = 2 if "--quick" in sys.argv else 30, random.Random(1)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        lessons = "".join(f"[[lesson]]\nnumber = {lesson.number}\n" for lesson in syllabus())
        Path("course.toml").write_text(COURSE + lessons)
        for i in range(count):
            for lesson in syllabus():
                kinds = rng.choices(list(KINDS), list(KINDS.values()), k=len(lesson.tasks))
                kinds = kinds if i else ["reference"] * len(kinds)
                hand_in(Path("class", f"student {i:02}", lesson.folder), lesson, kinds, rng)
        began = time.monotonic()
        code = tinyllm(["course", "grade", "class"])
        seconds = time.monotonic() - began
        print(f"=> {count} submissions of {len(syllabus())} lessons graded in {seconds:.0f} s")
        whole, *_ = csv.DictReader(Path("grades/grades.csv").read_text("utf-8").splitlines())
    return code or whole["points"] != whole["of"]


if __name__ == "__main__":
    sys.exit(main())
