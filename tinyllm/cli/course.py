"""`tinyllm course init | release | grade | report | export | selftest`: the instructor's side."""

import json
import sys
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from tinyllm.cli import add_command
from tinyllm.cli.text import paragraph
from tinyllm.course.classroom.config import COURSE_FILE, load_course, new_course, whole_course
from tinyllm.course.classroom.export import EXPORTERS, RESULT_EXPORTERS
from tinyllm.course.workers import LEVELS, isolation_words
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_text

COURSE_EXAMPLE = """example:
  tinyllm course init                              writes course.toml: lessons, points, due dates
  tinyllm course release handout                   what students get, without a line of a solution
  tinyllm course grade submissions --out grades    a folder or a zip for each student
  tinyllm course report grades                     where the class is stuck
  tinyllm course export canvas grades --out canvas.csv
"""
GRADE_EXAMPLE = """example:
  tinyllm course grade submissions --out grades
  tinyllm course grade submissions --out grades --require-isolation --workers 4

isolation (`auto` takes the first of these that a trial shows to work; `tinyllm doctor` tells which do):
  landlock   Linux: each test in a fresh process without network, processes, or files but the student's own
  plain      macOS, Windows, old kernels: a fresh process for each test, with a time limit; stops accidents,
             not attackers

Lateness is not judged: the times of files are set by whoever zips them. Leave out what came too late.
"""


def add_parser(subparsers):
    """Add the command and its own commands."""
    course = add_command(subparsers, "course", "hand out lessons, and grade what comes back", COURSE_EXAMPLE)
    course.set_defaults(run=lambda args: course.print_help())
    commands = course.add_subparsers(title="commands", metavar="COMMAND")
    init = add_command(commands, "init", "write a course file to edit", "example:\n  tinyllm course init\n")
    init.set_defaults(run=run_init)

    example = "example:\n  tinyllm course release handout\n"
    release = add_command(commands, "release", "write what students get into a folder", example)
    release.add_argument("out", metavar="OUT", help="a new folder")
    release.add_argument("--from", dest="source", metavar="FOLDER", help="your own copy of the lessons")
    release.set_defaults(run=run_release)

    grade = add_command(commands, "grade", "grade many submissions", GRADE_EXAMPLE)
    grade.add_argument("folder", metavar="DIR", help="holds a folder or a zip for each student")
    grade.add_argument("--out", metavar="OUT", required=True, help="a folder for grades.csv and feedback")
    grade.add_argument("--json", action="store_true", help="print results.json as well")
    grade.add_argument("--workers", type=int, metavar="N", help="submissions at a time; one per core")
    grade.add_argument("--isolation", choices=("auto", *LEVELS), default="auto",
                       help="how students' code is fenced in")  # fmt: skip
    what = "refuse to grade where only `plain` works"
    grade.add_argument("--require-isolation", action="store_true", help=what)
    grade.set_defaults(run=run_grade)

    example = "example:\n  tinyllm course report grades\n"
    report = add_command(commands, "report", "say where the class is stuck", example)
    report.add_argument("out", metavar="OUT", help="the folder of an earlier `course grade`")
    report.add_argument("--json", action="store_true", help="print the report for programs")
    report.set_defaults(run=run_report)

    example = "example:\n  tinyllm course export canvas grades --out canvas.csv\n"
    wheel = "tinyllm-0.1.0-py3-none-any.whl"
    example += f"  tinyllm course export gradescope --out autograder.zip \\\n      --package {wheel}\n"
    exports = (*EXPORTERS, *RESULT_EXPORTERS)
    export = add_command(commands, "export", "write what another system reads", example)
    export.add_argument("kind", metavar="KIND", choices=exports, help=", ".join(exports))
    export.add_argument("grades", metavar="GRADES", nargs="?", help="the folder of an earlier `course grade`")
    export.add_argument("--out", metavar="FILE", required=True, help="the file or folder to write")
    what = "a wheel of tinyllm, which gradescope and classroom50 install"
    export.add_argument("--package", metavar="FILE", help=what)
    export.set_defaults(run=run_export)

    example = "example:\n  tinyllm course selftest\n"
    selftest = add_command(commands, "selftest", "grade the grader: references, starters, mutants", example)
    selftest.add_argument("--json", action="store_true", help="print the table for programs")
    selftest.add_argument("--mutants", action="store_true", help="and for each mutant the property it breaks")
    selftest.set_defaults(run=run_selftest)
    for command in (release, grade, export, selftest):
        command.add_argument("--course", metavar="FILE", help=f"the course file, not {COURSE_FILE}")


def the_course(args):
    """The course file that was named, or the one at hand, or every lesson with a point for each task."""
    if args.course:
        return load_course(args.course)
    return load_course(COURSE_FILE) if Path(COURSE_FILE).is_file() else whole_course()


def run_init(args):
    """Write a course file, never over another."""
    if Path(COURSE_FILE).exists():
        raise UserError(f"there is a {COURSE_FILE} already; edit it, or move it away")
    atomic_write_text(COURSE_FILE, new_course())
    what = "every lesson, a point for each task, and a secret seed"
    print(paragraph(f"{COURSE_FILE} is written: {what}. Edit it, then", further=0))
    print("  tinyllm course release handout")


def run_release(args):
    """Write a release and say what is in it."""
    from tinyllm.course.classroom.release import release

    paths = release(the_course(args), args.out, args.source)
    scanned = "scanned: every task is a stub, and no line of the library's solutions is in them"
    print(paragraph(f"{len(paths)} files in {args.out}; {scanned}"))


def run_grade(args):
    """Grade, write, and say where it is -> exit code."""
    from tinyllm.course.classroom.collect import left_out
    from tinyllm.course.classroom.queue import choose_level, grade_all
    from tinyllm.course.classroom.results import number, read_results, write_results

    if args.workers is not None and args.workers < 1:
        raise UserError(f"--workers must be 1 or more, not {args.workers}")
    course = the_course(args)
    level = choose_level(args.isolation, args.require_isolation)
    if course.seed is None and not args.json:
        print(paragraph(f"no {COURSE_FILE} here: every lesson, a point for each task, hidden inputs from a "
                        f"seed kept in {args.out}"), flush=True)  # fmt: skip
    with tqdm(desc="grading", unit="", file=sys.stderr, disable=None, leave=False) as bar:
        try:
            records = grade_all(args.folder, course, args.out, level, args.workers, bar.update, bar.reset)
        except KeyboardInterrupt:
            bar.close()
            print("interrupted; the same command goes on with the submissions that are left", file=sys.stderr)
            return 130
    others = left_out(args.folder)
    write_results(args.out, course, records, level, others)
    if args.json:
        print(json.dumps(read_results(args.out)))
        return 0
    for record in records:
        if record["problem"]:
            print(paragraph(f"{record['student']}: {record['problem']}", 2, 4))
    if others:
        print(paragraph(left_out_told(others), 2, 4))
    refused = sum(bool(record["problem"]) for record in records)
    full = sum(record["points"] == record["of"] and not record["problem"] for record in records)
    graded = len(records) - refused
    what = "submission" if graded == 1 else "submissions"
    counts = f"{graded} {what} graded, {full} with all {number(course.total)} points"
    print(f"{counts}; {refused} refused, as said above" if refused else counts)
    if untried := untried_told(records, args.out):
        print(paragraph(untried))
    print(paragraph(isolation_words(level)))
    print(f"see {args.out}/grades.csv and {args.out}/feedback\n`tinyllm course report {args.out}` sums up")
    return 0


def left_out_told(names):
    """Which files are no submissions -> str."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"{', '.join(names[:10])}{more}: neither a folder nor a zip, so left out"


def untried_told(records, out):
    """How many tasks were blocked or ran out of time, and where it says why -> str, or None if none were."""
    states = Counter(task["state"] for record in records for x in record["lessons"] for task in x["tasks"])
    blocked, late = states["blocked"], states["timed_out"]
    if blocked or late:
        what = f"{blocked} {'task' if blocked == 1 else 'tasks'} blocked, {late} timed out"
        again = "what ran out of time or lacked something on this machine"
        return f"{what}: the pages in {out}/feedback say why; the same command tries again {again}"
    return None


def run_report(args):
    """Print where the class is stuck."""
    from tinyllm.course.classroom.results import read_results
    from tinyllm.course.classroom.summary import summary
    from tinyllm.course.record import WORDS

    found = summary(read_results(args.out))
    if args.json:
        print(json.dumps(found))
        return
    handed_in, refused = found["submissions"], len(found["refused"])
    counts = f"{handed_in} {'submission' if handed_in == 1 else 'submissions'}"
    counts += f", {handed_in - refused} graded" if refused else ""
    print(paragraph(f"{counts}; {isolation_words(found['isolation'])}") + "\n")
    states = ("passed", "failed", "timed_out", "blocked", "not_attempted")
    heads = [WORDS.get(state, state) for state in states]
    print(f"  {'task':<25}" + "".join(f"  {head}" for head in heads))
    for task in found["tasks"]:
        counts = (f"{task.get(state, 0):>{len(head) + 2}}" for state, head in zip(states, heads, strict=True))
        print(f"  {task['lesson']:>2} {task['task']:<22}" + "".join(counts))
    if found["bugs"]:
        print("\ncommon bugs")
    for bug in found["bugs"][:20]:
        who = "student" if bug["students"] == 1 else "students"
        print(paragraph(f"{bug['students']:>3} {who}, {bug['task']}: {bug['mistake']}", 2, 6))
    if found["solutions"]:
        print("\nasked for a solution (so says the workspace that was handed in)")
    for seen in found["solutions"]:
        print(paragraph(f"{seen['student']}: lesson {seen['lesson']}, {seen['task']}", 2, 4))
    if found["refused"]:
        print("\nnot graded")
    for student, problem in found["refused"]:
        print(paragraph(f"{student}: {problem}", 2, 4))
    if found["left_out"]:
        print("\n" + paragraph(left_out_told(found["left_out"])))


def run_export(args):
    """Write for another system."""
    from tinyllm.course.classroom.results import read_results

    if args.kind in EXPORTERS:
        course, path = the_course(args), args.course or COURSE_FILE
        remark = EXPORTERS[args.kind](course, args.out, path, args.package)
    elif not args.grades:
        raise UserError(f"`export {args.kind}` needs the folder that an earlier `course grade` wrote")
    else:
        remark = RESULT_EXPORTERS[args.kind](read_results(args.grades), args.out)
    print("\n".join([f"{args.out} is written", *([paragraph(remark)] if remark else [])]))


def run_selftest(args):
    """Print the table; the exit code is 1 if anything came out wrong."""
    from tinyllm.course.classroom.selftest import selftest
    from tinyllm.course.workers import best_level

    level = best_level()
    if not args.json:
        heads = ("reference", "starter", "mutants", "rejected", "alternatives")
        print(paragraph(isolation_words(level)))
        print(f"  {'task':<25}" + "".join(f"  {head}" for head in heads))
    rows = selftest(the_course(args), level, step=(lambda row: None) if args.json else
                    (lambda row: print(row_told(row, args.mutants), flush=True)))  # fmt: skip
    if args.json:
        print(json.dumps([vars(row) for row in rows]))
    else:
        mutants, others = sum(len(row.rejected) for row in rows), sum(row.alternatives for row in rows)
        print(f"{len(rows)} tasks, {sum(row.killed for row in rows)} of {mutants} mutants rejected "
              f"({mutants / len(rows):.1f} a task), {sum(row.accepted for row in rows)} of {others} "
              f"alternatives accepted (at least {min(row.alternatives for row in rows)} a task)")  # fmt: skip
    return 0 if all(row.good for row in rows) else 1


def row_told(row, mutants):
    """A row of the table, and what went wrong in it."""
    name = f"  {row.lesson:>2} {row.task:<22}"
    if row.blocked:
        return f"{name}    blocked: {row.blocked}"
    lines = [
        f"{name}{row.reference:>11.0%}{row.starter:>9.0%}{len(row.rejected):>9}"
        f"{row.killed:>10}{row.accepted:>10} of {row.alternatives}"
    ]
    lines += [f"     SURVIVES: {said}" for said, broken in row.rejected if broken is None]
    lines += [f"     TURNED DOWN: {name}, by: {broken}" for name, broken in row.wrongly]
    if mutants:
        lines += [f"     {broken}: {said}" for said, broken in row.rejected if broken is not None]
    return "\n".join(lines)
