"""Implement the commands for students: `tinyllm lesson`, `check`, `hint` and `solution`."""

import inspect
import os
import sys
from collections.abc import Iterator
from json import dumps
from pathlib import Path
from typing import Any

from tinyllm.cli.command import command
from tinyllm.cli.verdict import first_answer, format_verdict, inset
from tinyllm.course import workspace
from tinyllm.course.answer_keys import answers
from tinyllm.course.checker import as_record, judge_lesson
from tinyllm.course.own_tasks import load_lesson
from tinyllm.course.processes import use_one_thread
from tinyllm.course.reference_solution import collect
from tinyllm.course.syllabus import find_lesson, syllabus
from tinyllm.course.workers import Launcher, best_level, isolation_words
from tinyllm.course.workspace import StudentProgress, find_workspace, short_path
from tinyllm.errors import UserError
from tinyllm.ops import shapes
from tinyllm.ops.registry import OPS
from tinyllm.report.terminal import entry, paragraph


@command("lesson")
def lesson(verb: str | None = None, n: str | None = None) -> None:
    """Show the lessons and where you are, or start one.

    VERB        start, to copy a lesson into your workspace
    N           the number of a lesson

    example:
      tinyllm lesson               the map
      tinyllm lesson start 4       your copy of lesson 4, in this folder
      python 04_softmax_and_loss/lesson.py
      tinyllm check 4
    """
    if verb is None:
        print_map()
    elif verb == "start" and n is not None:
        start(find_lesson(n))
    else:
        raise UserError("to copy lesson N type `tinyllm lesson start N`, to see them all `tinyllm lesson`")


def print_map() -> None:
    """Print what all lessons are about and how far the student is in them, and the next step."""
    progress = StudentProgress(find_workspace())
    lessons: dict[str, list] = {"started": [], "": [], "done": []}
    for lesson in syllabus():
        word, passed = progress.state(lesson)
        state = f"{passed} of {len(lesson.tasks)} done" if word == "started" else word
        print(f"{lesson.number:>2}  {lesson.title:<26} {lesson.minutes:>4} min  {state}".rstrip())
        print(paragraph(lesson.what, 4, 4))
        lessons[word].append(lesson)
    print("\n`tinyllm lesson start N` copies lesson N here; `tinyllm check N` tries your code")
    if todo := lessons["started"] + lessons[""]:
        print(f"next: {next_of(todo[0], progress)}")


def next_of(lesson: Any, progress: Any) -> str:
    """Return the command that a student needs next: to copy a lesson, step through it, or check it."""
    word, passed = progress.state(lesson)
    if word == "started" and not passed:
        script = progress.path.parent.parent / lesson.folder / "lesson.py"
        return f"`python {short_path(script)}`, then `tinyllm check {lesson.number}`"
    return f"`tinyllm {'check' if word else 'lesson start'} {lesson.number}`"


def start(lesson: Any) -> None:
    """Copy a lesson into the workspace, and print what to do with it."""
    folder, copied = workspace.start_lesson(lesson, find_workspace())
    place = short_path(folder)
    said = f"your copy is in {place}" if copied else f"it is in {place} already; nothing was changed"
    print(paragraph(f"lesson {lesson.number}, {lesson.title}: {said}"))
    script, check = f"  python {place}/lesson.py  ", f"  tinyllm check {lesson.number}"
    print(entry(script, "to step through it"))
    print(entry(check.ljust(len(script)), f"when you have filled in {place}/{lesson.exercise}"))


@command("check")
def check(n: str, file: str | None = None, *, json: bool = False) -> int:
    """Try your exercise of a lesson, and name the mistakes in it.

    The exit code is 1 while something is missing.

    N       the number of a lesson, or a folder of an instructor's own exercises
    FILE    your exercise, if it is not in the workspace
    --json  print the result for programs

    example:
      tinyllm check 4              the exercise of lesson 4 in your workspace
      tinyllm check 4 other.py --json
    """
    lesson, folder = named_lesson(n), find_workspace()
    path = workspace.exercise_path(lesson, folder, file)
    use_one_thread()
    level, progress = best_level(), StudentProgress(folder)
    usual = folder / lesson.folder / lesson.exercise
    own = os.path.realpath(path) == os.path.realpath(usual)
    if not json:
        print(f"lesson {lesson.number}, {lesson.title}: {short_path(path)}\n", flush=True)
    verdicts = []
    with Launcher(level) as launcher, workspace.copied(path) as code:
        first: Any = {"first": first_answer} if sys.stdout.isatty() and not json else {}
        for verdict, printed in judge_lesson(lesson.tasks, launcher, code, soon=True, **first):
            record = progress.task(lesson, verdict.task) if own else {}
            if not json:
                lines = format_verdict(lesson, verdict, record.get("held"), printed)
                if "PermissionError" in verdict.message:
                    lines.append(inset(isolation_words(level)))
                print("\n".join(lines), flush=True)
            verdicts.append(verdict)
            if verdict.runs:  # a file that does not run keeps the progress
                record |= {"state": verdict.state, "held": len(verdict.held)}
    if json:
        found = {"lesson": lesson.number, "tasks": [as_record(lesson, v) for v in verdicts]}
        print(dumps(found | {"isolation": level, "note": isolation_words(level)}))
    else:
        lines = list(afterwards(lesson, path, verdicts, progress))
        if not own:
            lines.append(f"not recorded, for `tinyllm lesson` counts {short_path(usual)} only")
        if lines:
            print("\n" * (verdicts[-1].state != "failed") + "\n".join(map(paragraph, lines)))
    if own:
        progress.save()
    return 0 if all(v.state == "passed" for v in verdicts) else 1


def named_lesson(n: str) -> Any:
    """Return the lesson with the number `n`, or the instructor's own exercises in the folder `n`."""
    return load_lesson(n) if Path(n, "reference.py").is_file() else find_lesson(n)


def afterwards(lesson: Any, path: Any, verdicts: Any, progress: Any) -> Iterator[str]:
    """Yield lines that advise what to do after a check."""
    number = lesson.number
    if any(not v.runs for v in verdicts):
        where = f" (line {verdicts[0].line})" if verdicts[0].line else ""
        yield f"{short_path(path)} does not run: {verdicts[0].message}{where}"
    elif all(v.state == "passed" for v in verdicts):
        ops = [OPS[task.op].reference for task in lesson.tasks if task.kind == "op" and not lesson.home]
        if files := ", ".join(sorted({op.__module__.replace(".", "/") + ".py" for op in ops})):
            yield f"All right! The library does the same in {files}: compare."
        if lesson.mine is not None:
            kind = lesson.mine.get("model.type", "GPT")
            yield f"`tinyllm train --mine {number} --steps 50` trains the real {kind} on what you wrote"
        if later := [other for other in syllabus() if other.number > number]:
            yield f"next: {next_of(later[0], progress)}"
    elif todo := [v.task for v in verdicts if v.state == "not_attempted"]:
        what = "them" if len(todo) > 1 else "it"
        yield f"write {what} in {short_path(path)}; `tinyllm hint {short_path(lesson.name)}` helps"


@command("hint")
def hint(n: str, exercise: str | None = None) -> None:
    """Give the next hint for an exercise.

    N         the number of a lesson
    EXERCISE  a function; if left out, the first that is not done

    example:
      tinyllm hint 4 softmax
    """
    lesson, progress = named_lesson(n), StudentProgress(find_workspace())
    open_tasks = [t.name for t in lesson.tasks if progress.task(lesson, t.name).get("state") != "passed"]
    found = lesson.task(exercise or [*open_tasks, lesson.tasks[0].name][0])
    every = lesson.hints(found.name)
    if not every:
        raise UserError(f"there are no hints for {found.name}; its docstring says what it must do")
    record = progress.task(lesson, found.name)
    given = min(record.get("hints", 0), len(every) - 1)
    record["hints"] = given + 1
    print(paragraph(f"{found.name}, hint {given + 1} of {len(every)}: {every[given]}"))
    if given + 1 == len(every) and not found.about.no_solution and not lesson.home:
        show = f"`tinyllm solution {lesson.number} {found.name}`"
        print(paragraph(f"That was the last hint. {show} shows the library's code."))
    progress.save()


@command("solution")
def solution(n: str, exercise: str) -> None:
    """Show the library's own code for an exercise.

    N         the number of a lesson
    EXERCISE  the name of a function

    example:
      tinyllm solution 4 softmax
    """
    lesson = find_lesson(n)
    found = lesson.task(exercise)
    if found.about.no_solution:
        raise UserError(found.about.no_solution.format(found.name, lesson.number))
    if found.kind == "c":
        print(f"// the library's own kernel, which is faster, is csrc/{found.op}.c in its sources\n")
        print(answers(found).reference, end="")
        return
    functions = filter(callable, collect(OPS[found.op].reference, {}, ops=False).values())
    for function in (each for each in functions if each.__module__ != shapes.__name__):  # shapes only checks
        file = function.__module__.replace(".", "/") + ".py"  # the same wherever the package is installed
        print(f"# {file}, line {function.__code__.co_firstlineno}\n")
        print(inspect.getsource(function))
