"""`tinyllm lesson | check | hint | solution | progress`: a student's way through the lessons."""

import inspect
import json
import time

from tinyllm.cli import add_command
from tinyllm.errors import UserError
from tinyllm.ops.registry import OPS
from tinyllm.teach.record import as_record
from tinyllm.teach.syllabus import find_lesson, ready, syllabus
from tinyllm.teach.workspace import Progress, exercise_path, find_workspace, hints, shown, start_lesson

WORDS = {"not_attempted": "not attempted", "timed_out": "timed out"}
LESSON_EXAMPLE = """example:
  tinyllm lesson               the map
  tinyllm lesson start 4       your copy of lesson 4, in this folder
  python 04_softmax_and_loss/lesson.py
  tinyllm check 4
"""
CHECK_EXAMPLE = """example:
  tinyllm check 4              the exercise of lesson 4 in your workspace
  tinyllm check 4 --watch      again whenever you save it
  tinyllm check 4 other.py --json
"""


def add_parser(subparsers):
    """Add the five commands."""
    lesson = add_command(subparsers, "lesson", "show the lessons, or start one", LESSON_EXAMPLE)
    lesson.set_defaults(run=run_map)
    commands = lesson.add_subparsers(title="commands", metavar="COMMAND")
    start = add_command(commands, "start", "copy a lesson into your workspace", LESSON_EXAMPLE)
    start.add_argument("lesson", metavar="N", help="the number of a lesson")
    start.set_defaults(run=run_start)

    check = add_command(subparsers, "check", "say how your exercise does, and name your bug", CHECK_EXAMPLE)
    check.add_argument("lesson", metavar="N", help="the number of a lesson")
    check.add_argument("file", metavar="FILE", nargs="?", help="your exercise, if it is not in the workspace")
    check.add_argument("--watch", action="store_true", help="check again whenever the file changes")
    check.add_argument("--json", action="store_true", help="print the result for programs")
    check.set_defaults(run=run_check)

    example = "example:\n  tinyllm hint 4 softmax\n"
    hint = add_command(subparsers, "hint", "give the next hint for a task", example)
    hint.add_argument("lesson", metavar="N", help="the number of a lesson")
    hint.add_argument("task", metavar="TASK", nargs="?", help="the first that is not done, if not given")
    hint.set_defaults(run=run_hint)

    example = "example:\n  tinyllm solution 4 softmax\n"
    what = "show the library's own code, and record that you looked"
    solution = add_command(subparsers, "solution", what, example)
    solution.add_argument("lesson", metavar="N", help="the number of a lesson")
    solution.add_argument("task", metavar="TASK", help="the name of a function")
    solution.set_defaults(run=run_solution)

    progress = add_command(subparsers, "progress", "show where you are", "example:\n  tinyllm progress\n")
    progress.set_defaults(run=run_map)


def run_map(args):
    """The map: number, title, minutes, what is built, and the student's state."""
    workspace = find_workspace()
    progress = Progress(workspace)
    for lesson in syllabus():
        word, passed = progress.state(lesson)
        state = word if word in ("", "done") else f"{passed} of {len(lesson.tasks)} done"
        print(f"{lesson.number:>2}  {lesson.title:<26} {lesson.minutes:>4} min  {state}")
        print(f"    {lesson.what}")
    print("\n`tinyllm lesson start N` copies lesson N here; `tinyllm check N` checks it")


def run_start(args):
    """Copy a lesson, and say what to do with it."""
    lesson = find_lesson(args.lesson)
    folder, copied = start_lesson(lesson, find_workspace())
    there = "your copy is" if copied else "you have started it already, and nothing was changed: it is"
    print(f"lesson {lesson.number}, {lesson.title}: {there} in {shown(folder)}")
    print(f"  python {shown(folder / 'lesson.py')}    to step through it")
    print(f"  tinyllm check {lesson.number}    when you have filled in {shown(folder / 'exercise.py')}")


def run_check(args):
    """Check once, or whenever the file changes; the exit code is 1 while something is missing."""
    if args.watch and args.json:
        raise UserError("--watch is for people and --json for programs: choose one")
    lesson = find_lesson(args.lesson)
    workspace = find_workspace()
    path = exercise_path(lesson, workspace, args.file)
    while True:
        before = path.stat().st_mtime_ns
        complete = check_once(lesson, path, workspace, args)
        if not args.watch:
            return 0 if complete else 1
        print("\nwaiting for you to save the file; Ctrl-C ends", flush=True)
        while not path.is_file() or path.stat().st_mtime_ns == before:
            time.sleep(0.2)
        print("\033[2J\033[H", end="")


def check_once(lesson, path, workspace, args):
    """Judge every task, print, and remember -> whether all passed."""
    from tinyllm.teach.checker import JUDGES, judge_task  # here: hypothesis takes a while to import
    from tinyllm.teach.workers import Zygote, best_level, isolation_words

    level = best_level()
    progress = Progress(workspace)
    if not args.json:
        print(f"lesson {lesson.number}, {lesson.title}: {shown(path)}\n")
    verdicts = []
    with Zygote(level) as zygote:
        for task in lesson.tasks:
            if not ready(task) or task.kind not in JUDGES:
                continue
            verdict = judge_task(task, lambda: zygote.start(path), path.parent)
            record = progress.task(lesson, task.name)
            if not args.json:
                print(told(lesson, verdict, record.get("held")), flush=True)
            verdicts.append(verdict)
            if args.file is None:
                record |= {"state": verdict.state, "held": len(verdict.held)}
    if args.file is None:
        progress.save()
    if args.json:
        found = {"lesson": lesson.number, "tasks": [as_record(lesson, v) for v in verdicts]}
        print(json.dumps(found | {"isolation": level, "note": isolation_words(level)}))
    else:
        print(isolation_words(level))
    return all(v.state == "passed" for v in verdicts)


def told(lesson, verdict, before):
    """A verdict for the terminal."""
    of = len(verdict.held) + len(verdict.broken)
    word = WORDS.get(verdict.state, verdict.state)
    line = f"  {verdict.task:<24} {word:<14}"
    if verdict.state == "not_attempted":
        return line.rstrip()
    line += f" {len(verdict.held)} of {of} properties hold"
    if before is not None and before != len(verdict.held):
        line += f", {before} before"
    if verdict.state == "passed":
        return "\n      ".join([line, *filter(None, verdict.message.split("\n"))])
    lines = [line]
    if verdict.broken and lesson.task(verdict.task).kind != "tests":
        lines.append(f"this does not hold: {verdict.broken[0]}")
    where = f" (line {verdict.line})" if verdict.line else ""
    lines.append(verdict.message + where)
    if verdict.mistake:
        lines.append(f"your output equals {verdict.mistake}")
    elif verdict.step:
        lines.append(f"the first step that differs: no variable of yours holds the library's {verdict.step}")
    if verdict.smallest_input:
        lines += ["smallest input:", *verdict.smallest_input.split("\n")]
    lines.append(f"`tinyllm hint {lesson.number} {verdict.task}` helps")
    return "\n      ".join(lines) + "\n"


def run_hint(args):
    """Give the next hint, and remember how many were given."""
    lesson = find_lesson(args.lesson)
    progress = Progress(find_workspace())
    open_tasks = [t.name for t in lesson.tasks if progress.task(lesson, t.name).get("state") != "passed"]
    task = lesson.task(args.task or [*open_tasks, lesson.tasks[0].name][0])
    every = hints(lesson, task.name)
    if not every:
        raise UserError(f"there are no hints for {task.name}; its docstring says what it must do")
    record = progress.task(lesson, task.name)
    given = min(record.get("hints", 0), len(every) - 1)
    record["hints"] = given + 1
    progress.save()
    print(f"{task.name}, hint {given + 1} of {len(every)}: {every[given]}")
    if given + 1 == len(every):
        print(f"that was the last; `tinyllm solution {lesson.number} {task.name}` shows the library's code")


def run_solution(args):
    """Show the library's own code, and record it."""
    lesson = find_lesson(args.lesson)
    task = lesson.task(args.task)
    progress = Progress(find_workspace())
    progress.task(lesson, task.name)["solution"] = True
    progress.save()
    function = OPS[task.op].reference
    print(f"# {inspect.getsourcefile(function)}, line {function.__code__.co_firstlineno}\n")
    print(inspect.getsource(function))
