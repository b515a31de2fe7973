"""Implement `tinyllm course`, the commands for instructors who release and grade exercises."""

import argparse
import os
import sys
from collections import Counter
from functools import partial
from json import dumps
from pathlib import Path
from textwrap import indent
from typing import Literal

from tqdm import tqdm

from tinyllm.cli.command import command, group
from tinyllm.course.classroom.collect import left_out, load
from tinyllm.course.classroom.config import COURSE_FILE, Course, load_course, new_course, whole_course
from tinyllm.course.classroom.feedback import number
from tinyllm.course.classroom.gradescope import gradescope, gradescope_results
from tinyllm.course.classroom.grading import MISSING
from tinyllm.course.classroom.queue import LATER, choose_level, find_submissions, grade_all, only
from tinyllm.course.classroom.release import write_release
from tinyllm.course.classroom.results import read_results, summary, write_results
from tinyllm.course.classroom.selftest import Row, run_selftest, try_task
from tinyllm.course.classroom.students import check_students, find_table, merge, read_students
from tinyllm.course.classroom.tables import canvas, moodle, without_id
from tinyllm.course.own_tasks import load_lesson, write_template
from tinyllm.course.workers import WORDS, best_level, isolation_words
from tinyllm.course.workspace import hints
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_text
from tinyllm.report.terminal import bar, paragraph, table

group("course", """
example:
  tinyllm course init                    writes course.toml to edit
  tinyllm course release handout         what students get, without a solution
  tinyllm course grade submissions       grades and feedback, in grades
  tinyllm course report grades           where the class is stuck
  tinyllm course export canvas grades --out canvas.csv
  tinyllm course task new 100_averages   an exercise of your own
""")
ASKED = "asked for a solution (so says the workspace that was handed in; anybody can read one unseen)"
TABLE_HEAD = f"  {'exercise':<25}  reference  starter  mutants  rejected  variants"
Kind = Literal["canvas", "moodle", "gradescope", "gradescope-results"]
OF_RESULTS = {"canvas": canvas, "moodle": moodle, "gradescope-results": gradescope_results}


def find_course(path: str | None) -> Course:
    """Read a course file (default: ./course.toml). Without a file, return a course of all lessons."""
    if path:
        return load_course(path)
    return load_course(COURSE_FILE) if os.path.lexists(COURSE_FILE) else whole_course()


@command("course init")
def init() -> None:
    """Write a course file to edit.

    example:
      tinyllm course init
    """
    if os.path.lexists(COURSE_FILE):
        raise UserError(f"there is a {COURSE_FILE} already; edit it, or move it away")
    atomic_write_text(COURSE_FILE, new_course())
    what = "every lesson, a point for each exercise, and a secret seed"
    print(paragraph(f"{COURSE_FILE} is written: {what}. Edit it, then", further=0))
    print("  tinyllm course release handout")


def _add_from(parser: argparse.ArgumentParser) -> None:  # `from` cannot be the name of a parameter
    parser.add_argument("--from", dest="source", metavar="FOLDER", help="your own copy of the lessons")


@command("course release", extend=_add_from)
def release(out: str, *, course: str | None = None, **more: str | None) -> None:
    """Write the files for students into a folder.

    OUT              a new folder
    --course FILE    the course file (default course.toml)

    example:
      tinyllm course release handout
    """
    paths = write_release(find_course(course), out, more["source"])
    scanned = "scanned: every exercise is a stub, and no line of the library's solutions is in them"
    print(paragraph(f"{len(paths)} files in {out}; {scanned}"))
    back = "what comes back, a folder or a zip for each student, in `submissions`, then"
    print(paragraph(f"Hand out that folder. Put {back}", further=0))
    print("  tinyllm course grade submissions")


@command("course grade")
def grade(
    folder: str, *, out: str = "grades", json: bool = False, workers: int | None = None,
    isolation: Literal["auto", "landlock", "plain"] = "auto", require_isolation: bool = False,
    course: str | None = None, student: list[str] | None = None,
    students: str | None = None,
) -> int:
    """Grade many submissions.

    FOLDER               holds a folder or a zip for each student
    --out OUT            a folder for grades.csv, tasks.csv and feedback (grades)
    --json               print results.json as well
    --workers N          submissions at a time (default one per core)
    --isolation          how students' code is isolated
    --require-isolation  refuse to grade where only `plain` works
    --course FILE        the course file (default course.toml)
    --student NAME       grade this student again, and nobody else; may be repeated
    --students FILE      a table of students: roster, points set by hand, times of arrival

    example:
      tinyllm course grade submissions
      tinyllm course grade submissions --out grades2 --require-isolation --workers 4
      tinyllm course grade submissions --student "Ada Lovelace"

    `auto` takes the first isolation that works here, as `tinyllm doctor` reports:
      landlock   Linux: each test in a fresh process without network, processes,
                 or files but the student's own
      plain      macOS, Windows, old kernels: a fresh process for each test, with
                 a time limit; stops accidents, not attackers

    students.csv beside the course file is read without being named, at each grading; see lessons/README.md.
    Lateness is judged by its column `received` alone, because students can set the times of files.
    """
    if workers is not None and workers < 1:
        raise UserError(f"--workers must be 1 or more, not {workers}")
    found = find_course(course)
    table = find_table(course, students)
    level = choose_level(isolation, require_isolation)
    if found.seed is None and not json:
        print(paragraph(f"no {COURSE_FILE} here: every lesson, a point for each exercise, hidden inputs from "
                        f"a seed kept in {out}"), flush=True)
    records = grade_folder(folder, found, table, out, level, workers, student or [])
    if json and records is not None:
        print(dumps(read_results(out)))
    elif records is not None:
        print(f"students: {table}\n" if table else "", end="")
        print_graded(records, left_out(folder), found.total, out, level)
    return 130 if records is None else 0


def grade_folder(folder: str, course: Course, table: Path | None, out: str, level: str,
                 workers: int | None, again: list[str]) -> list | None:
    """Grade submissions, merge the table and write the results; return records, or None if interrupted."""
    students, submissions = read_students(table, course), find_submissions(folder, course)
    check_students(students, [submission.student for submission in submissions])
    chosen = only(again, submissions)
    with tqdm(desc="grading", total=len(submissions), unit="", file=sys.stderr, disable=None,
              leave=False) as bar:
        try:
            records = grade_all(submissions, course, out, level, workers, bar.update, chosen)
        except KeyboardInterrupt:
            bar.close()
            print("interrupted; the same command goes on with the submissions that are left", file=sys.stderr)
            return None
    records = merge(students, course, level, records)
    known = {submission.student: submission for submission in submissions}

    def files(student: str) -> dict:
        return load(known[student], course.lessons).files if student in known else {}

    write_results(out, course, records, level, left_out(folder), files)
    return records


def print_graded(records: list, others: list, total: float, out: str, level: str) -> None:
    """Print a summary of the grades, and the files that contain the results."""
    missing = [record["student"] for record in records if record["problem"] == MISSING]
    strangers = [record["student"] for record in records if record["remark"]]
    refused = [record for record in records if record["problem"] not in ("", MISSING, LATER)]
    lines = [f"{record['student']}: {record['problem']}" for record in refused]
    lines += [f"nothing was handed in by {listed(missing)}"] if missing else []
    lines += [f"not in the roster: {listed(strangers)}"] if strangers else []
    lines += [left_out_words(others)] if others else []
    for line in lines:
        print(paragraph(line, 2, 4))
    graded = [record for record in records if not record["problem"]]
    full = sum(record["points"] == record["of"] for record in graded)
    print(f"{plural(len(graded), 'submission')} graded, {full} with all {number(total)} points")
    if refused:
        print(f"{plural(len(refused), 'submission')} could not be graded: see above")
    states = Counter(task["state"] for record in records for x in record["lessons"] for task in x["tasks"])
    if states["blocked"] or states["timed_out"]:
        what = f"{plural(states['blocked'], 'exercise')} blocked, {states['timed_out']} timed out"
        why = f"the pages in {out}/feedback say why. Run the command again to retry timeouts"
        print(paragraph(f"{what}: {why} and what this machine lacked."))
    print(paragraph(isolation_words(level)))
    print(f"see {out}/grades.csv, tasks.csv and feedback\n`tinyllm course report {out}` sums up")


def plural(n: int, word: str) -> str:
    """Return a number with its word, such as "1 exercise" or "2 exercises"."""
    return f"{n} {word}{'s' * (n != 1)}"


def left_out_words(names: list) -> str:
    """Return a sentence that names files which are not submissions."""
    return f"{listed(names)}: neither a folder nor a zip, so left out"


def listed(names: list) -> str:
    """Return the first ten names of a list as text, and the number of the others."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more


@command("course report")
def report(out: str, *, json: bool = False) -> None:
    """Show which exercises the class is stuck on.

    OUT     the folder of an earlier `course grade`
    --json  print the report for programs

    example:
      tinyllm course report grades
    """
    results = read_results(out)
    found = summary(results)
    if json:
        print(dumps(found))
        return
    refused, graded = found["refused"], found["submissions"] - len(found["refused"])
    counts = plural(found["submissions"], "submission") + (f", {graded} graded" if refused else "")
    print(paragraph(f"{counts}; {isolation_words(found['isolation'])}") + "\n")
    states = ("passed", "failed", "timed_out", "blocked", "not_attempted")
    heads = [WORDS.get(state, state) for state in states]
    rows = [[f"{task['lesson']:>2} {task['task']:<22}", *(str(task.get(state, 0)) for state in states)]
            for task in found["tasks"]]
    print("\n".join(f"  {line}" for line in table(["exercise", *heads], rows)))
    print("\npoints\n" + "\n".join(f"  {line}" for line in histogram(results["submissions"])))
    bugs = [f"{plural(bug['students'], 'student'):>11}, {bug['task']}: {bug['mistake']}"
            for bug in found["bugs"][:20]]
    seen = [f"{x['student']}: lesson {x['lesson']}, {x['task']}" for x in found["solutions"]]
    for head, lines in (
        ("where those who tried are stuck", stuck(found["tasks"])), ("common bugs", bugs),
        (ASKED, seen),
        ("not graded", [f"{student}: {problem}" for student, problem in refused]),
    ):
        if lines:
            print("\n" + "\n".join([paragraph(head), *(paragraph(line, 2, 4) for line in lines)]))
    if found["left_out"]:
        print("\n" + paragraph(left_out_words(found["left_out"])))


def histogram(records: list, bins: int = 10) -> list[str]:
    """Return a histogram of grades as lines, the best grades first: number of submissions, and a bar."""
    shares = [record["points"] / record["of"] for record in records if not record["problem"] and record["of"]]
    counts = Counter(min(max(int(share * bins), 0), bins - 1) for share in shares)
    most = max(counts.values(), default=1)
    return [f"{100 * i // bins:>3} to {100 * (i + 1) // bins:>3} %  {counts[i]:>4}  "
            f"{bar(counts[i] / most, 40)}".rstrip() for i in range(bins - 1, -1, -1)]


def stuck(tasks: list, most: int = 5) -> list[str]:
    """Return lines about the hardest exercises: those with the smallest share of passed attempts."""
    rows = []
    for task in tasks:
        passed = task.get("passed", 0)
        tried = passed + task.get("failed", 0) + task.get("timed_out", 0)
        if passed < tried:
            name = f"{task['lesson']}/{task['task']}"
            rows.append((passed / tried, -tried, f"{name}: {passed} of {tried} passed"))
    return [line for *_, line in sorted(rows)[:most]]


@command("course export")
def export(kind: Kind, grades: str | None = None, *, out: str, package: str | None = None,
           course: str | None = None) -> None:
    """Write files for another system. grades.csv and tasks.csv, which `course grade` writes, are plain CSV.

    KIND            canvas and moodle: a table of points to import there;
                    gradescope: an autograder; gradescope-results: what it found
    GRADES          the folder of an earlier `course grade`
    --out FILE      the file to write
    --package FILE  a wheel of tinyllm, which gradescope installs
    --course FILE   the course file (default course.toml)

    example:
      tinyllm course export canvas grades --out canvas.csv
      tinyllm course export gradescope --out autograder.zip \\
          --package tinyllm_lab-0.1.0-py3-none-any.whl
    """
    if kind == "gradescope":
        gradescope(find_course(course), out, course or COURSE_FILE, package)
        print(f"{out} is written")
        return
    if not grades:
        raise UserError(f"`export {kind}` needs the folder that an earlier `course grade` wrote")
    results = read_results(grades)
    atomic_write_text(out, OF_RESULTS[kind](results))
    print(f"{out} is written")
    if kind == "canvas" and (remark := without_id(results)):
        print(paragraph(remark))


@command("course task")
def own_task(verb: Literal["new", "check"], folder: str) -> int:
    """Write and check exercises of your own.

    VERB    new writes a small example to change; check tries it
    FOLDER  such as 100_averages: has reference.py, cases.py, mistakes.py

    example:
      tinyllm course task new 100_averages
      tinyllm course task check 100_averages

    Each public function of reference.py is an exercise; students get its signature and docstring. To use
    the exercises in a course, write `folder = "100_averages"` in a [[lesson]] of course.toml. Students try
    their answer with `tinyllm check 100_averages answer.py`.
    """
    if verb == "new":
        print("\n".join(str(path) for path in write_template(folder)))
        print(paragraph(f"a complete small exercise: change it, then `tinyllm course task check {folder}`"))
        return 0
    lesson = load_lesson(folder)
    print(f"students get:\n\n{indent(lesson.starter, '  ')}")
    rows = [try_task(lesson, task, best_level()) for task in lesson.tasks]
    print(TABLE_HEAD)
    for row in rows:
        print(format_row(row, True))
        if not hints(lesson, row.task):
            print(paragraph(f"no hints: hints.toml may have {row.task} = [\"a nudge\", ...]", 5))
    good = all(row.good for row in rows)
    print("it can be used" if good else paragraph(
        "not yet: the reference must be right, the starter wrong, and every mistake rejected"))
    return 0 if good else 1


@command("course selftest")
def selftest(*, json: bool = False, mutants: bool = False, course: str | None = None) -> int:
    """Test the grader on right answers, untouched starters and known mistakes.

    --json         print the table for programs
    --mutants      also print the property that each mistake breaks
    --course FILE  the course file (default course.toml)

    example:
      tinyllm course selftest
    """
    level, say = best_level(), (lambda text: None) if json else partial(print, flush=True)
    say(paragraph(isolation_words(level)))
    say(TABLE_HEAD)
    rows = run_selftest(find_course(course), level, step=lambda row: say(format_row(row, mutants)))
    wrong, others = sum(len(row.rejected) for row in rows), sum(row.variants for row in rows)
    say(f"{len(rows)} exercises, {sum(row.killed for row in rows)} of {wrong} mutants rejected, "
        f"{sum(row.accepted for row in rows)} of {others} variants accepted")
    if json:
        print(dumps([vars(row) for row in rows]))
    return 0 if all(row.good for row in rows) else 1


def format_row(row: Row, mutants: bool) -> str:
    """Format a row of the self-test's table, and below it a line about every wrong judgement."""
    name = f"  {row.lesson:>2} {row.task:<22}"
    if row.blocked:
        return f"{name}    blocked: {row.blocked}"
    lines = [
        f"{name}{row.reference:>11.0%}{row.starter:>9.0%}{len(row.rejected):>9}"
        f"{row.killed:>10}{row.accepted:>10} of {row.variants}"
    ]
    lines += [f"     SURVIVES: {said}" for said, broken in row.rejected if broken is None]
    lines += [f"     TURNED DOWN: {name}, by: {broken}" for name, broken in row.wrongly]
    if mutants:
        lines += [f"     {broken}: {said}" for said, broken in row.rejected if broken is not None]
    return "\n".join(lines)
