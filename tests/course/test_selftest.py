"""Check that `course selftest` notices wrong judgements."""

import functools
import multiprocessing
import time
from unittest.mock import Mock

import pytest
from helpers import refuses

from tinyllm.cli import main
from tinyllm.cli.course import format_row
from tinyllm.course import answer_keys
from tinyllm.course.classroom import selftest
from tinyllm.course.classroom.config import Course, whole_course
from tinyllm.course.kernels import NONE
from tinyllm.course.syllabus import find_lesson, syllabus
from tinyllm.course.workers import best_level
from tinyllm.ops import OPS
from tinyllm.testing import MISTAKES
from tinyllm.testing.properties import RIGHT, STEADY

LESSON = find_lesson(4)
ASKED = [(lesson, task) for lesson in syllabus() for task in lesson.tasks if task.kind == "op"]


@pytest.mark.parametrize("lesson, task", ASKED[::9], ids=lambda x: getattr(x, "folder", None) or x.name)
def test_right_and_wrong_answers_and_the_starter_are_judged_as_intended(lesson, task):
    """Try every ninth exercise; `tinyllm course selftest` in .ci/run tries all, and those in C."""
    assert (row := selftest.try_task(lesson, task, best_level())).good, row


def test_selftest_notices_what_a_grader_gets_wrong_and_that_no_compiler_is_there(monkeypatch):
    """Try a mutant that survives, one rejected by another property, and a right answer that is rejected."""
    right, (said, wrong) = OPS["softmax"].reference, MISTAKES["softmax"][1]
    fine, elsewhere = functools.partial(right), functools.partial(wrong)
    fine.breaks, elsewhere.breaks = RIGHT, STEADY
    known = [(said, wrong), ("nothing wrong", fine), ("not for this", elsewhere)]
    monkeypatch.setitem(answer_keys.MISTAKES, "softmax", known)
    monkeypatch.setitem(answer_keys.VARIANTS, "softmax", [right, wrong])
    row = selftest.try_task(LESSON, LESSON.task("softmax"), best_level())
    assert (row.killed, row.mutants, row.accepted, row.variants, row.good) == (1, 3, 1, 2, False)
    survivors, (refused,) = row.wrong[:2], row.wrong[2:]
    assert survivors == ("SURVIVES: nothing wrong", "SURVIVES: not for this")
    assert refused.startswith(f"TURNED DOWN: {wrong.__name__}, by: ") and refused in format_row(row)
    monkeypatch.setattr("tinyllm.cli.course.run_selftest", lambda *arguments, **step: [row])
    assert main(["course", "selftest"]) == 1
    monkeypatch.setattr(selftest, "find_compiler", lambda: None)
    refuses(NONE[:20], selftest.try_task, find_lesson(10), find_lesson(10).tasks[0], best_level())


def try_first(lesson, task, level):
    """Return a row for the first exercise, and never return for the others."""
    while task.name != "softmax":
        time.sleep(1)
    return selftest.Row(4, task.name, 1, 0, 1, 1, 1, 1, ())


def test_an_interrupt_ends_a_selftest_at_once_and_a_process_that_dies_is_one_line(monkeypatch, capfd):
    monkeypatch.setattr(selftest, "try_task", try_first)
    with pytest.raises(KeyboardInterrupt):
        selftest.run_selftest(Course(whole_course().parts[4:5]), "plain", Mock(side_effect=KeyboardInterrupt))
    assert not multiprocessing.active_children() and not capfd.readouterr().err
    monkeypatch.setattr(selftest, "try_task", lambda *arguments: exit(1))
    refuses("the process that tried", selftest.run_selftest, Course(whole_course().parts[4:5]), "plain")
