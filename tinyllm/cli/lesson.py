"""`tinyllm lesson | check | hint | solution | progress`: a student's way through the lessons."""

import inspect
import sys
import time
from collections.abc import Iterator
from json import dumps
from pathlib import Path
from typing import Any

from tinyllm.cli.command import command
from tinyllm.cli.text import paragraph
from tinyllm.course.answer_keys import answers
from tinyllm.course.checker import WORDS, as_record
from tinyllm.course.notebook import to_notebook
from tinyllm.course.reference_solution import helpers
from tinyllm.course.syllabus import find_lesson, syllabus
from tinyllm.course.workspace import (
    Progress,
    copied,
    exercise_path,
    find_workspace,
    hints,
    short_path,
    start_lesson,
    versions,
)
from tinyllm.errors import UserError
from tinyllm.files import read_text
from tinyllm.ops.registry import OPS

COUNTED = {"tests": "mutants caught"}  # kind of task -> what is counted; else properties that hold
FENCED = "the line on isolation, above, says what a check lets your code do"
HOW_TO_START = "to copy lesson N type `tinyllm lesson start N`, and to see them all `tinyllm lesson`"


@command("lesson")
def lesson(verb: str | None = None, n: str | None = None, *, notebook: bool = False) -> None:
    """Show the lessons, or start one.

    VERB        start, to copy a lesson into your workspace; may be left out
    N           the number of a lesson
    --notebook  also write the lesson as a notebook for Jupyter, lesson.ipynb

    example:
      tinyllm lesson               the map
      tinyllm lesson start 4       your copy of lesson 4, in this folder
      python 04_softmax_and_loss/lesson.py
      tinyllm check 4
    """
    if verb and verb[0].isdigit() and n is None:
        verb, n = "start", verb
    if verb is None and not notebook:
        progress()
    elif verb == "start" and n is not None:
        start(find_lesson(n), notebook)
    else:
        raise UserError("required: N; " * (verb == "start") + HOW_TO_START)


@command("progress")
def progress() -> None:
    """Show where you are in the lessons.

    example:
      tinyllm progress
    """
    reached = opened(find_workspace())
    for lesson in syllabus():
        word, passed = reached.state(lesson)
        state = word if word in ("", "done") else f"{passed} of {len(lesson.tasks)} done"
        print(f"{lesson.number:>2}  {lesson.title:<26} {lesson.minutes:>4} min  {state}".rstrip())
        print(paragraph(lesson.what, 4, 4))
    print("\n`tinyllm lesson start N` copies lesson N here; `tinyllm check N` tries your code")
    if following := next_lesson([(lesson, reached.state(lesson)[0]) for lesson in syllabus()]):
        print(f"next: {next_of(following, reached)}")


def opened(workspace: Any) -> Any:
    """Load the progress of a workspace, and print a note if its file is damaged."""
    progress = Progress(workspace)
    if progress.problem:
        note(progress.problem)
    return progress


def saved(progress: Any) -> None:
    """Save the progress; if that fails, print a note and continue."""
    try:
        progress.save()
    except UserError as error:
        note(f"{error}, so this is not recorded")


def note(text: object) -> None:
    """Print a note on stderr."""
    print(paragraph(f"note: {text}"), file=sys.stderr)


def next_lesson(states: Any) -> Any:
    """Return the next lesson: the first that is started, else the first not done after the last done.

    states: pairs (lesson, state), where state is "", "started" or "done". Returns None if all are done.
    """
    begun = [lesson for lesson, word in states if word == "started"]
    done = [i for i, (_, word) in enumerate(states) if word == "done"]
    later = states[done[-1] + 1 :] if done else []
    still_open = [lesson for lesson, word in [*later, *states] if word != "done"]
    return next(iter(begun + still_open), None)


def next_of(lesson: Any, progress: Any) -> str:
    """Return the next command for a lesson: copy it, step through it, or check it."""
    word, passed = progress.state(lesson)
    if word == "started" and not passed:
        script = progress.path.parent.parent / lesson.folder / "lesson.py"
        return f"`python {short_path(script)}`, then `tinyllm check {lesson.number}`"
    return f"`tinyllm {'check' if word else 'lesson start'} {lesson.number}`"


def start(lesson: Any, notebook: bool = False) -> None:
    """Copy a lesson, and say what to do with it."""
    more = {"lesson.ipynb": to_notebook(read_text(lesson.path / "lesson.py"))} if notebook else {}
    folder, copied = start_lesson(lesson, find_workspace(), more)
    script, exercise = short_path(folder / "lesson.py"), short_path(folder / lesson.exercise)
    if copied:
        print(paragraph(f"lesson {lesson.number}, {lesson.title}: your copy is in {short_path(folder)}"))
    else:
        print(paragraph(f"lesson {lesson.number}, {lesson.title}, is in {short_path(folder)} already; "
                        "nothing was changed"))  # fmt: skip
    step = f"jupyter lab {short_path(folder / 'lesson.ipynb')}" if notebook else f"python {script}"
    rows = {step: "to step through it",
            f"tinyllm check {lesson.number}": f"when you have filled in {exercise}"}  # fmt: skip
    width = max(map(len, rows))
    for line, why in rows.items():
        print(paragraph(f"{line:<{width}}  {why}", 2, width + 4))


@command("check")
def check(n: str, file: str | None = None, *, watch: bool = False, json: bool = False) -> int:
    """Say how your exercise of a lesson does, and name your bug.

    The exit code is 1 while something is missing.

    N        the number of a lesson, or a folder of an instructor's own tasks
    FILE     your exercise, if it is not in the workspace
    --watch  check again whenever the file changes
    --json   print the result for programs

    example:
      tinyllm check 4              the exercise of lesson 4 in your workspace
      tinyllm check 4 --watch      again whenever you save it
      tinyllm check 4 other.py --json
    """
    if watch and json:
        raise UserError("--watch is for people and --json for programs: choose one")
    lesson, workspace = named_lesson(n), find_workspace()
    path = exercise_path(lesson, workspace, file)
    while True:
        before = versions(path.parent)
        complete = check_once(lesson, path, workspace, json)
        if not watch:
            return 0 if complete else 1
        try:
            print(f"\nwaiting for you to save {lesson.exercise}; Ctrl-C ends", flush=True)
            while not path.is_file() or versions(path.parent) == before:
                time.sleep(0.2)
        except KeyboardInterrupt:
            print()  # the shell's prompt begins a line
            raise
        print("\033[2J\033[H", end="")


def named_lesson(n: str) -> Any:
    """Return the lesson with a number, or the one in an instructor's own folder."""
    if Path(n, "reference.py").is_file():
        from tinyllm.course.own_tasks import load_lesson  # here: hypothesis takes a while to import

        return load_lesson(n)
    return find_lesson(n)


def check_once(lesson: Any, path: Any, workspace: Any, json: bool) -> bool:
    """Judge every task, print the verdicts, and save the progress -> True if all passed."""
    from tinyllm.course.checker import SOON, judge_lesson  # here: hypothesis takes a while to import
    from tinyllm.course.workers import Launcher, best_level, isolation_words

    level = best_level()
    progress = opened(workspace)
    own = path.resolve() == (workspace / lesson.folder / "exercise.py").resolve()
    if not json:
        print(f"lesson {lesson.number}, {lesson.title}: {checked(lesson, path)}")
        print(paragraph(isolation_words(level)) + "\n")
    verdicts = []
    with Launcher(level) as launcher, copied(path) as code:
        first: Any = {"first": first_answer} if sys.stdout.isatty() and not json else {}
        for verdict, printed in judge_lesson(lesson.tasks, launcher, code, SOON, **first):
            record = progress.task(lesson, verdict.task) if own else {}
            if not json:
                print(format_verdict(lesson, verdict, record.get("held"), printed), flush=True)
            verdicts.append(verdict)
            if verdict.runs:  # a file that does not run keeps the progress
                record |= {"state": verdict.state, "held": len(verdict.held)}
    if own:
        saved(progress)
    if json:
        found = {"lesson": lesson.number, "tasks": [as_record(lesson, v) for v in verdicts]}
        print(dumps(found | {"isolation": level, "note": isolation_words(level)}))
        return all(v.state == "passed" for v in verdicts)
    if lines := list(afterwards(lesson, path, verdicts, progress)):
        print("\n" * (verdicts[-1].state != "failed") + "\n".join(lines))
    if not own:
        here = short_path(workspace / lesson.folder / lesson.exercise)
        print(paragraph(f"not recorded, for `tinyllm progress` counts {here} only"))
    return all(v.state == "passed" for v in verdicts)


def first_answer(task: str, message: str) -> None:
    """Print what is wrong with a task, before the search for the cause, which takes seconds."""
    print(f"  {task:<24} failed: looking for the cause\n{inset(message)}", flush=True)


def checked(lesson: Any, path: Any) -> str:
    """Return the name of the file that a lesson checks, which may lie beside the file at `path`."""
    return short_path(path if lesson.exercise == "exercise.py" else path.with_name(lesson.exercise))


def inset(text: str) -> str:
    """Return a paragraph indented below the name of a task."""
    return paragraph(text, 6)


def format_verdict(lesson: Any, verdict: Any, before: Any, printed: str = "") -> str:
    """Format a verdict for the terminal."""
    of = len(verdict.held) + len(verdict.broken)
    word = WORDS.get(verdict.state, verdict.state)
    line = f"  {verdict.task:<24} {word:<14}"
    kind = lesson.task(verdict.task).kind
    if not verdict.runs:
        return line.rstrip()
    if verdict.state == "not_attempted":
        missing = verdict.message.startswith("there is no function")
        return "\n".join([line.rstrip(), inset(verdict.message)] if missing else [line.rstrip()])
    line += f" {len(verdict.held)} of {of} {COUNTED.get(kind, 'properties hold')}"
    if before is not None and before != len(verdict.held):
        line += f", {before} before"
    if verdict.state == "passed":
        return "\n".join([line, *map(inset, filter(None, verdict.message.split("\n")))])
    lines = [line]
    if verdict.broken and kind != "tests" and verdict.state == "failed":
        lines.append(inset(f"does not hold: {cause(verdict)}"))
    where = f" (line {verdict.line})" if verdict.line else ""
    lines.append(inset(verdict.message + where))
    if verdict.state == "blocked" and "PermissionError" in verdict.message:
        lines.append(inset(FENCED))
    if verdict.mistake:
        lines.append(inset(f"your output equals {verdict.mistake}"))
    elif verdict.step:
        first = f"the first step that differs: the library has {verdict.step} here"
        lines.append(inset(f"{first}, and none of your variables does"))
    if verdict.smallest_input:
        lines.append(inset("smallest input:"))
        lines += [paragraph(each.strip(), 8, 12) for each in verdict.smallest_input.split("\n")]
    if printed:
        lines.append(inset("the first lines that your code printed:"))
        lines += [paragraph(each, 8, 12) for each in printed.split("\n")]
    lines.append(inset(f"`tinyllm hint {lesson.number} {verdict.task}` helps"))
    return "\n".join(lines) + "\n"


def cause(verdict: Any) -> Any:
    """Return the property that the message of a verdict is about."""
    from tinyllm.course.drawing import PURE, WRITES

    return PURE if verdict.message == WRITES and PURE in verdict.broken else verdict.broken[0]


def afterwards(lesson: Any, path: Any, verdicts: Any, progress: Any) -> Iterator[str]:
    """Yield lines that advise what to do after a check."""
    number = lesson.number
    if any(not v.runs for v in verdicts):
        verdict = verdicts[0]
        where = f" (line {verdict.line})" if verdict.line else ""
        yield paragraph(f"{short_path(path)} does not run: {verdict.message}{where}")
        return
    if all(v.state == "passed" for v in verdicts):
        from tinyllm.course.capstone import PARTS

        if number in PARTS.values():
            yield f"`tinyllm train --mine {number} --steps 50` trains the real GPT on what you wrote"
        if number + 1 < len(syllabus()):
            yield f"next: {next_of(syllabus()[number + 1], progress)}"
    elif todo := [v.task for v in verdicts if v.state == "not_attempted"]:
        what = "them" if len(todo) > 1 else "it"
        yield paragraph(f"write {what} in {checked(lesson, path)}; `tinyllm hint {number}` helps")


@command("hint")
def hint(n: str, task: str | None = None) -> None:
    """Give the next hint for a task.

    N     the number of a lesson
    TASK  the first that is not done, if not given

    example:
      tinyllm hint 4 softmax
    """
    lesson, progress = named_lesson(n), opened(find_workspace())
    open_tasks = [t.name for t in lesson.tasks if progress.task(lesson, t.name).get("state") != "passed"]
    found = lesson.task(task or [*open_tasks, lesson.tasks[0].name][0])
    every = hints(lesson, found.name)
    if not every:
        raise UserError(f"there are no hints for {found.name}; its docstring says what it must do")
    record = progress.task(lesson, found.name)
    given = min(record.get("hints", 0), len(every) - 1)
    record["hints"] = given + 1
    print(paragraph(f"{found.name}, hint {given + 1} of {len(every)}: {every[given]}"))
    if given + 1 == len(every) and found.kind in ("op", "c"):
        last = f"that was the last; `tinyllm solution {lesson.number} {found.name}` shows the library's code"
        print(paragraph(last))
    saved(progress)


NO_SOLUTION = {  # by the kind of task
    "tests": "there is no solution of {}: a test is marked by what it catches; `tinyllm hint {} {}` helps",
    "run": "{0} is made of your own functions: their solutions are those of lessons 4 to 9",
}


@command("solution")
def solution(n: str, task: str) -> None:
    """Show the library's own code of a task, and record that you looked.

    N     the number of a lesson
    TASK  the name of a function

    example:
      tinyllm solution 4 softmax
    """
    lesson = find_lesson(n)
    found = lesson.task(task)
    if found.kind in NO_SOLUTION:
        raise UserError(NO_SOLUTION[found.kind].format(found.name, lesson.number, found.name))
    progress = opened(find_workspace())
    progress.task(lesson, found.name)["solution"] = True
    saved(progress)
    if found.kind == "c":
        print(f"// the library's own kernel, which is faster, is csrc/{found.op}.c in its sources\n")
        print(answers(found).reference, end="")
        return
    reference = OPS[found.op].reference
    for function in (*helpers(reference), reference):
        print(f"# {inspect.getsourcefile(function)}, line {function.__code__.co_firstlineno}\n")
        print(inspect.getsource(function))
