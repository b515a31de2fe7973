"""The grader, graded at length: every known answer to every task, and the name of every wrong kernel.

    python tests/proofs/verify_selftest.py [--quick]

`course selftest` on all lessons: each right answer passes, each wrong one fails by the property meant for it.
Then each wrong kernel in C is named. --quick: two tasks of the first, six kernels of the second.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tinyllm.course.answer_keys import NAMELESS, answers
from tinyllm.course.checker import judge_task
from tinyllm.course.classroom.config import Course, Part, whole_course
from tinyllm.course.classroom.selftest import run_selftest
from tinyllm.course.kernels import find_compiler
from tinyllm.course.syllabus import find_lesson
from tinyllm.course.workers import Launcher, best_level

ALIKE = {  # where they fail, these touch the same element
    "four terms at a time, also where fewer are left": "a sum that goes beyond its last term, as p <= k does",
}


def named(launcher, task, answer):
    """Say if a wrong kernel gets its own name."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "exercise.py").touch()
        Path(folder, "exercise.c").write_text(answer.text)
        start = lambda: launcher.start(Path(folder, "exercise.py"))  # noqa: E731
        verdict = judge_task(task, start, Path(folder), effort=0)
    right = verdict.mistake == ALIKE.get(answer.sentence, answer.sentence)
    if not right:
        print(f"not named: {answer.sentence}: {verdict}")
    return right


def main():
    """Grade, print, and return 1 where anything came out wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few of each")
    quick = parser.parse_args().quick
    small = Course("small", 1, 1, False, (Part(find_lesson(4), {"softmax": 1}),
                                          Part(find_lesson(11), {"test_bpe_merge": 1})))  # fmt: skip
    rows = run_selftest(small if quick else whole_course(), best_level())
    bad = [row for row in rows if not row.good]
    for row in bad:
        print(row)
    rejected, of = sum(row.killed for row in rows), sum(len(row.rejected) for row in rows)
    print(f"=> {len(rows)} tasks: {rejected} of {of} wrong answers rejected by the property meant for them, "
          f"{sum(len(row.wrongly) for row in rows)} right ones turned down")  # fmt: skip
    if not find_compiler():
        return 1 if bad else 77
    kernels = [(task, answer) for task in find_lesson(10).tasks for answer in answers(task).wrong
               if answer.breaks not in NAMELESS]  # fmt: skip
    kernels = kernels[::5] if quick else kernels
    with Launcher(best_level()) as launcher:
        count = sum(named(launcher, task, answer) for task, answer in kernels)
    print(f"=> {count} of {len(kernels)} wrong kernels named")
    return 1 if bad or count < len(kernels) else 0


if __name__ == "__main__":
    sys.exit(main())
