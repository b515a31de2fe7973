"""Implement `tinyllm course`, the commands for instructors who release and grade exercises."""

import os
import threading
from collections import Counter
from functools import partial

from tqdm import tqdm

from tinyllm.cli.command import command
from tinyllm.cli.train import stop_on_signals
from tinyllm.course.classroom.collect import collect
from tinyllm.course.classroom.config import COURSE_FILE, load_course, new_course, whole_course
from tinyllm.course.classroom.feedback import number
from tinyllm.course.classroom.grading import grade_all
from tinyllm.course.classroom.release import autograder, write_release
from tinyllm.course.classroom.selftest import Row, run_selftest
from tinyllm.course.classroom.students import identities, merge, read_students, require_known
from tinyllm.course.classroom.tables import by_lesson, note, tasks_of, write_results
from tinyllm.course.syllabus import find_lesson, syllabus
from tinyllm.course.workers import WORDS, best_level, isolation_words
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_text
from tinyllm.report.terminal import paragraph, table


@command("course init")
def init(numbers: list[str] | None = None) -> None:
    """Write a course file to edit.

    NUMBERS  of lessons (default: all)

    example:
      tinyllm course init 4 6
    """
    if os.path.lexists(COURSE_FILE):
        raise UserError(f"there is a {COURSE_FILE} already; edit it, or move it away")
    chosen = [find_lesson(number) for number in numbers or ()] or syllabus()
    atomic_write_text(COURSE_FILE, new_course(lesson for lesson in syllabus() if lesson in chosen))
    print(f"{COURSE_FILE} is written: lessons, a point for each exercise, a secret seed")
    print("edit it, then `tinyllm course release handout`")


@command("course release")
def release(out: str) -> None:
    """Write the files for students into a folder, as course.toml in this folder says.

    OUT  a new folder

    example:
      tinyllm course release handout
    """
    paths = write_release(load_course(), out)
    print(paragraph(f"{len(paths)} files in {out}; every exercise is a stub. Hand it out, and put what comes "
                    "back, a folder or a zip for each student, into one folder for `tinyllm course grade`"))


@command("course grade")
def grade(folder: str, *, out: str = "grades", workers: int | None = None) -> None:
    """Grade many submissions, and show where the class is stuck.

    FOLDER       holds a folder or a zip for each student, or is a download of Moodle or Canvas
    --out OUT    a folder for the results
    --workers N  submissions at a time (default one per core)

    example:
      tinyllm course grade submissions

    OUT gets grades.csv (a column for each lesson and exercise), canvas.csv and moodle.csv to import there,
    results.json for programs, and in feedback a page for each student. A cell is empty, not 0, if nothing
    was graded there.

    course.toml and students.csv are read in this folder. Lateness is judged by the column `received` of
    students.csv alone, because students can set the times of files.
    """
    if workers is not None and workers < 1:
        raise UserError(f"--workers must be 1 or more, not {workers}")
    course, level = load_course(), best_level()
    rows = read_students(course)
    submissions, others = collect(folder, identities(rows))
    require_known(rows, submissions)
    print(paragraph(isolation_words(level)), flush=True)
    stop, bar = threading.Event(), tqdm(desc="grading", total=len(submissions), leave=False, disable=None)
    with stop_on_signals(stop), bar:
        found = grade_all(submissions, course, level, workers, bar.update, stop.is_set)
    records = merge(rows, course, level, found)
    write_results(out, course, records, submissions)
    print("\n".join(format_grades(records, others)))
    print(f"see {out}/grades.csv and feedback")


def format_grades(records: list, others: list) -> list[str]:
    """Return lines about a class: exercises, common bugs, the ungraded; `others` are files left out."""
    states = ("passed", "failed", "timed_out", "blocked", "not_attempted")
    graded = [record for record in records if record["points"] is not None]
    tried = [pair for record in graded for pair in tasks_of(record)]
    found = Counter((name, task["state"]) for name, task in tried)
    bugs = Counter(f"{name}: {task['mistake']}" for name, task in tried if task["mistake"])
    rows = [[f"{name:<25}", *(str(found[name, state]) for state in states)] for name in dict(tried)]
    lines = [f"  {line}" for line in table(["exercise", *(WORDS.get(x, x) for x in states)], rows)]
    common = [f"{many} of {len(graded)}: {bug}" for bug, many in bugs.most_common(20)]
    notes = [f"{record['student']}: {note(record)}" for record in records if note(record)]
    notes += [f"{name}: neither a folder nor a zip, so left out" for name in others]
    for head, said in (("common bugs", common), ("to be looked at", notes)):
        lines += ["", head, *(paragraph(each, 2, 4) for each in said)] if said else []
    full = sum(record["points"] == record["of"] for record in graded)
    empty = sum("" in by_lesson(record) for record in records)
    return [*lines, "", f"graded: {len(graded)}; with all {number(records[0]['of'])} points: {full}; "
                        f"with empty cells, not 0, in all tables: {empty}"]


@command("course gradescope")
def gradescope(package: str, *, out: str = "autograder.zip") -> None:
    """Write an autograder for Gradescope.

    PACKAGE     a wheel of tinyllm, to be installed there
    --out FILE  the zip to write

    example:
      tinyllm course gradescope tinyllm_lab-0.1.0-py3-none-any.whl
    """
    autograder(load_course(), out, package)
    print(f"{out} is written")


@command("course selftest")
def selftest() -> int:
    """Test the grader on right answers, untouched starters and known mistakes.

    It tries the exercises of course.toml in this folder, also your own, and without this file all lessons.
    The reference must be right, the starter wrong, every mistake rejected, every variant accepted.

    example:
      tinyllm course selftest
    """
    level, say = best_level(), partial(print, flush=True)
    say(paragraph(isolation_words(level)))
    say(f"  {'exercise':<25}  reference  starter  mutants  rejected  variants")
    tried = load_course() if os.path.lexists(COURSE_FILE) else whole_course()
    rows = run_selftest(tried, level, step=lambda row: say(format_row(row)))
    names = "killed", "mutants", "accepted", "variants"
    killed, mutants, accepted, variants = (sum(getattr(row, name) for row in rows) for name in names)
    say(f"{len(rows)} exercises, {killed} of {mutants} mutants rejected, "
        f"{accepted} of {variants} variants accepted")
    return 0 if all(row.good for row in rows) else 1


def format_row(row: Row) -> str:
    """Format a row of the self-test's table, and below it a line about every wrong judgement."""
    shares = f"{row.reference:>11.0%}{row.starter:>9.0%}{row.mutants:>9}{row.killed:>10}"
    line = f"  {row.lesson:>2} {row.task:<22}{shares}{row.accepted:>10} of {row.variants}"
    return "\n".join([line, *(f"     {wrong}" for wrong in row.wrong)])
