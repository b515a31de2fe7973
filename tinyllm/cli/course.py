"""Implement `tinyllm course`, the commands for instructors who release and grade exercises."""

import os
import sys
from collections import Counter
from functools import partial
from textwrap import indent
from typing import Literal

from tqdm import tqdm

from tinyllm.cli.command import command, group
from tinyllm.course.classroom.collect import collect, left_out, load
from tinyllm.course.classroom.config import COURSE_FILE, Course, load_course, new_course, whole_course
from tinyllm.course.classroom.feedback import number
from tinyllm.course.classroom.gradescope import gradescope, gradescope_results
from tinyllm.course.classroom.grading import fits
from tinyllm.course.classroom.queue import choose_level, grade_all, only
from tinyllm.course.classroom.release import write_release
from tinyllm.course.classroom.results import read_results, write_results
from tinyllm.course.classroom.selftest import Row, run_selftest, try_task
from tinyllm.course.classroom.students import find_table, merge, read_students
from tinyllm.course.classroom.tables import canvas, moodle, note, tasks_of, without_id
from tinyllm.course.own_tasks import load_lesson
from tinyllm.course.workers import WORDS, best_level, isolation_words
from tinyllm.course.workspace import hints
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_text
from tinyllm.report.terminal import paragraph, table

group("course", """
example:
  tinyllm course init                      writes course.toml to edit
  tinyllm course release handout           what students get, without a solution
  tinyllm course grade submissions         grades and feedback, in grades
  tinyllm course report grades             where the class is stuck
  tinyllm course export canvas grades --out canvas.csv
  tinyllm course task check 100_averages   an exercise of your own
""")
ASKED = "asked for a solution (so says the workspace that was handed in; anybody can read one unseen)"
TABLE_HEAD = f"  {'exercise':<25}  reference  starter  mutants  rejected  variants"
Kind = Literal["canvas", "moodle", "gradescope", "gradescope-results"]
OF_RESULTS = {"canvas": canvas, "moodle": moodle, "gradescope-results": gradescope_results}


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


@command("course release")
def release(out: str, *, course: str = COURSE_FILE) -> None:
    """Write the files for students into a folder.

    OUT              a new folder
    --course FILE    the course file

    example:
      tinyllm course release handout
    """
    paths = write_release(load_course(course), out)
    print(paragraph(f"{len(paths)} files in {out}; every exercise is a stub"))
    back = "what comes back, a folder or a zip for each student, in `submissions`, then"
    print(paragraph(f"Hand out that folder. Put {back}", further=0))
    print("  tinyllm course grade submissions")


@command("course grade")
def grade(
    folder: str, *, out: str = "grades", workers: int | None = None,
    isolation: Literal["auto", "landlock", "plain"] = "auto", course: str = COURSE_FILE,
    student: list[str] | None = None, students: str | None = None,
) -> None:
    """Grade many submissions.

    FOLDER           holds a folder or a zip for each student
    --out OUT        a folder for grades.csv, tasks.csv, results.json and feedback
    --workers N      submissions at a time (default one per core)
    --isolation      how students' code is isolated
    --course FILE    the course file
    --student NAME   grade this student again, and who is new; may be repeated
    --students FILE  a table of students: roster, points set by hand, times of arrival

    example:
      tinyllm course grade submissions
      tinyllm course grade submissions --out grades2 --isolation landlock
      tinyllm course grade submissions --student "Ada Lovelace"

    `auto` takes the first isolation that works here, as `tinyllm doctor` reports:
      landlock   Linux: each test in a fresh process without network, processes,
                 or files but the student's own
      plain      macOS, Windows, old kernels: a fresh process for each test, with
                 a time limit; stops accidents, not attackers (a daemon that the
                 code starts by `setsid` outlives its test)

    students.csv beside the course file is read without being named, at each grading; see lessons/README.md.
    Lateness is judged by its column `received` alone, because students can set the times of files.
    """
    if workers is not None and workers < 1:
        raise UserError(f"--workers must be 1 or more, not {workers}")
    found, submissions = load_course(course), collect(folder)
    roster = find_table(course, students)
    rows, level = read_students(roster, found, submissions), choose_level(isolation)
    again, earlier = only(student or [], submissions), read_results(out)["submissions"] if student else []
    known = {submission.student: submission for submission in submissions}
    kept = {record["student"]: record for record in earlier if record["student"] in known.keys() - again
            and fits(record, found) and not record["problem"]}
    todo = [submission for submission in submissions if submission.student not in kept]
    with tqdm(desc="grading", total=len(todo), unit="", file=sys.stderr, disable=None, leave=False) as bar:
        graded = grade_all(todo, found, level, workers, bar.update)
    records = merge(rows, found, level, [*kept.values(), *graded])
    others = left_out(folder)

    def files_of(record):
        submission = known.get(record["student"])
        whole = submission and load(submission, found.lessons)
        return whole.files if whole and whole.digest == record["digest"] else {}  # only what was graded

    write_results(out, found, records, level, others, files_of)
    print(f"students: {roster}\n" if roster else "", end="")
    print_graded(records, others, found, out)


def print_graded(records: list, others: list, course: Course, out: str) -> None:
    """Print a summary of the grades, and the files that contain the results."""
    for record in records:
        if note(record):
            print(paragraph(f"{record['student']}: {note(record)}", 2, 4))
    if others:
        print(paragraph(left_out_words(others), 2, 4))
    graded = [record for record in records if not record["problem"]]
    full = sum(record["points"] == record["of"] for record in graded)
    print(f"{plural(len(graded), 'submission')} graded, {full} with all {number(course.total)} points")
    states = Counter(task["state"] for record in records for _, task in tasks_of(record))
    if states["blocked"] or states["timed_out"]:
        what = f"{plural(states['blocked'], 'exercise')} blocked, {states['timed_out']} timed out"
        print(paragraph(f"{what}: the pages in {out}/feedback say why, and what this machine lacked. "
                        "With --student you can grade one again."))
    print(paragraph(isolation_words(records[0]["isolation"])))
    print(f"see {out}/grades.csv, tasks.csv and feedback\n`tinyllm course report {out}` sums up")


def plural(n: int, word: str) -> str:
    """Return a number with its word, such as "1 exercise" or "2 exercises"."""
    return f"{n} {word}{'s' * (n != 1)}"


def left_out_words(names: list) -> str:
    """Return a sentence that names the first ten files which are not submissions."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"{', '.join(names[:10])}{more}: neither a folder nor a zip, so left out"


@command("course report")
def report(out: str) -> None:
    """Show which exercises the class is stuck on.

    OUT     the folder of an earlier `course grade`

    example:
      tinyllm course report grades
    """
    results = read_results(out)
    records = [record for record in results["submissions"] if not record["problem"]]
    count = plural(len(results["submissions"]), "submission")
    print(paragraph(f"{count}, {len(records)} graded; {results['note']}") + "\n")
    states = ("passed", "failed", "timed_out", "blocked", "not_attempted")
    found: dict[str, Counter] = {}
    bugs: Counter = Counter()
    for name, task in (pair for record in records for pair in tasks_of(record)):
        found.setdefault(name, Counter())[task["state"]] += 1
        bugs[f"{name}: {task['mistake']}"] += bool(task["mistake"])
    rows = [[f"{name:<25}", *(str(counts[state]) for state in states)] for name, counts in found.items()]
    heads = ["exercise", *(WORDS.get(state, state) for state in states)]
    print("\n".join(f"  {line}" for line in table(heads, rows)))
    common = [f"{plural(many, 'student'):>11}, {bug}" for bug, many in bugs.most_common(20) if many]
    seen = [f"{record['student']}: {name}" for record in records for name, task in tasks_of(record)
            if task["solution_seen"]]
    refused = [f"{record['student']}: {record['problem']}" for record in results["submissions"]
               if record["problem"]]
    for head, lines in (("common bugs", common), (ASKED, seen), ("not graded", refused)):
        if lines:
            print("\n" + "\n".join([paragraph(head), *(paragraph(line, 2, 4) for line in lines)]))
    if results["left_out"]:
        print("\n" + paragraph(left_out_words(results["left_out"])))


@command("course export")
def export(kind: Kind, grades: str | None = None, *, out: str, package: str | None = None,
           course: str = COURSE_FILE) -> None:
    """Write files for another system. grades.csv and tasks.csv, which `course grade` writes, are plain CSV.

    KIND            canvas and moodle: a table of points to import there;
                    gradescope: an autograder; gradescope-results: what it found
    GRADES          the folder of an earlier `course grade`
    --out FILE      the file to write
    --package FILE  a wheel of tinyllm, which gradescope installs
    --course FILE   the course file

    example:
      tinyllm course export canvas grades --out canvas.csv
      tinyllm course export gradescope --out autograder.zip \\
          --package tinyllm_lab-0.1.0-py3-none-any.whl
    """
    if kind == "gradescope":
        gradescope(load_course(course), out, course, package)
    elif not grades:
        raise UserError(f"`export {kind}` needs the folder that an earlier `course grade` wrote")
    else:
        results = read_results(grades)
        atomic_write_text(out, OF_RESULTS[kind](results))
        if kind == "canvas" and (remark := without_id(results)):
            print(paragraph(remark))
    print(f"{out} is written")


@command("course task")
def own_task(verb: Literal["check"], folder: str) -> int:
    """Try exercises of your own.

    VERB    check
    FOLDER  such as 100_averages: has reference.py, cases.py, mistakes.py

    example:
      tinyllm course task check 100_averages

    Each public function of reference.py is an exercise; students get its signature and docstring. The files
    of a small one are in lessons/README.md, to be copied. To use the exercises in a course, write
    `folder = "100_averages"` in a [[lesson]] of course.toml. Students try their answer with
    `tinyllm check 100_averages answer.py`.
    """
    lesson = load_lesson(folder)
    print(f"students get:\n\n{indent(lesson.starter, '  ')}\n{TABLE_HEAD}")
    rows = [try_task(lesson, task, best_level()) for task in lesson.tasks]
    print("\n".join(map(format_row, rows)))
    if lacking := [task.name for task in lesson.tasks if not hints(lesson, task.name)]:
        print(paragraph(f"no hints: hints.toml may have {lacking[0]} = [\"a nudge\", ...]"))
    good = all(row.good for row in rows)
    print("it can be used" if good else paragraph(
        "not yet: the reference must be right, the starter wrong, and every mistake rejected"))
    return 0 if good else 1


@command("course selftest")
def selftest(*, course: str | None = None) -> int:
    """Test the grader on right answers, untouched starters and known mistakes.

    --course FILE  a course file (default course.toml, and without it every lesson)

    example:
      tinyllm course selftest
    """
    level, say = best_level(), partial(print, flush=True)
    say(paragraph(isolation_words(level)))
    say(TABLE_HEAD)
    whole = not course and not os.path.lexists(COURSE_FILE)
    tried = whole_course() if whole else load_course(course or COURSE_FILE)
    rows = run_selftest(tried, level, step=lambda row: say(format_row(row)))
    killed, wrong = sum(row.killed for row in rows), sum(len(row.rejected) for row in rows)
    refused, right = sum(len(row.wrongly) for row in rows), sum(row.variants for row in rows)
    say(f"{len(rows)} exercises, {killed} of {wrong} mutants rejected, "
        f"{right - refused} of {right} variants accepted")
    return 0 if all(row.good for row in rows) else 1


def format_row(row: Row) -> str:
    """Format a row of the self-test's table, and below it a line about every wrong judgement."""
    name = f"  {row.lesson:>2} {row.task:<22}"
    if row.blocked:
        return f"{name}    blocked: {row.blocked}"
    shares = f"{row.reference:>11.0%}{row.starter:>9.0%}{len(row.rejected):>9}{row.killed:>10}"
    lines = [f"{name}{shares}{row.variants - len(row.wrongly):>10} of {row.variants}"]
    lines += [f"     SURVIVES: {said}" for said, broken in row.rejected if broken is None]
    return "\n".join([*lines, *(f"     TURNED DOWN: {name}, by: {broken}" for name, broken in row.wrongly)])
