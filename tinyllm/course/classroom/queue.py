"""Grade many submissions at once, one process for each, and continue after an interrupt.

Each process writes one record into OUT/.parts and ends; if it crashes, only this record is lost. The name of
a record is a hash of everything that it depends on: files, course, versions, and isolation.
"""

import contextlib
import difflib
import hashlib
import itertools
import json
import multiprocessing
import multiprocessing.connection
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tinyllm.course import capstone
from tinyllm.course.classroom.collect import Submission, collect, load, student_name
from tinyllm.course.classroom.config import Course, new_seed
from tinyllm.course.classroom.grading import RECORD, UNJUDGED, empty_record, grade
from tinyllm.course.drawing import properties
from tinyllm.course.failures import right
from tinyllm.course.kernels import NONE
from tinyllm.course.own_tasks import ensure
from tinyllm.course.workers import LEVELS, why_not
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_text, read_json
from tinyllm.testing.relations import specs_only
from tinyllm.version import __version__

SECONDS_PER_SUBMISSION = 4 * 3600  # by the clock; then a grading process is killed: see `grading`
CONTEXT: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
LATER = "not graded yet; `course grade` without --student does so"
LOST = "its grading process ended, by a crash or after four hours, or its files changed; grade again"


def choose_level(wanted: str, required: bool = False) -> str:
    """Return the level of isolation to use for grading. Raises UserError if it does not work here.

    With `required`, the level `plain` is refused, because it does not stop attackers.
    """
    reasons = {level: why_not(level) for level in (LEVELS if wanted == "auto" else (wanted,))}
    if required and "plain" in reasons:
        reasons["plain"] = "--require-isolation refuses it, since it stops accidents, not attackers"
    for level, reason in reasons.items():
        if reason is None:
            return level
    told = "; ".join(f"{level}: {reason}" for level, reason in reasons.items())
    raise UserError(f"none of the wanted levels of isolation works here ({told}); see `tinyllm doctor`")


def find_submissions(folder: str | Path, course: Course) -> list[Submission]:
    """Return all submissions in a folder. Raises UserError if there is none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder} with submissions")
    submissions = collect(folder, course.lessons)
    if not submissions:
        raise UserError(f"{folder} holds no submissions: it should have a folder or a zip for each student")
    return submissions


def only(names: Collection[str], submissions: list[Submission]) -> set[str]:
    """Find students by name, ignoring case; return their names. Raises UserError for an unknown name."""
    known = {submission.student.casefold(): submission.student for submission in submissions}
    keys = [student_name(name).casefold() for name in names]
    for name, key in zip(names, keys, strict=True):
        if key not in known:
            near = difflib.get_close_matches(key, known, 3)
            hint = f"; did you mean {' or '.join(known[each] for each in near)}?" if near else ""
            raise UserError(f"there is no submission of {name[:60]!r}{hint}")
    return {known[key] for key in keys}


def grade_all(submissions: list[Submission], course: Course, out: str | Path, level: str,
              workers: int | None = None, step: Callable[[], Any] = lambda: None,
              again: Collection[str] = ()) -> list[dict[str, Any]]:
    """Grade submissions, and return their records in the order of the students' names.

    step: called whenever a submission is done.
    again: grade only these students, even if nothing has changed; the others keep their records.

    If the course has no seed, a random seed is stored in `out`.
    """
    parts = Path(out, ".parts")
    parts.mkdir(parents=True, exist_ok=True)
    if course.seed is None:
        course = replace(course, seed=kept_seed(parts))
    records, todo = {}, []
    for submission in submissions:
        path = parts / f"{record_name(submission, course, level)}.json"
        refused = submission.problem
        record = empty_record(submission, course, level, refused) if refused else read(path)
        if again and submission.student not in again:
            records[submission.student] = record or empty_record(submission, course, level, LATER)
            step()
        elif is_final(record) and (refused or not again):
            records[submission.student] = record
            step()
        else:
            path.unlink(missing_ok=True)
            todo.append((submission, path))
    with interrupts() as interrupted:
        if todo:
            prepare(course, {course.variant(submission.student) for submission, _ in todo}, interrupted)
        run_all(todo, course, level, workers or os.cpu_count() or 1, step, interrupted)
    for submission, path in todo:
        records[submission.student] = read(path) or empty_record(submission, course, level, LOST)
    return [records[name] for name in sorted(records, key=lambda name: (name.casefold(), name))]


def kept_seed(folder: Path) -> int:
    """Return the seed that is stored in a folder; if there is none, store a random one first."""
    if (seed := read(folder / "seed.json", int)) is None:
        seed = new_seed()
        atomic_write_text(folder / "seed.json", json.dumps(seed))
    return seed


def record_name(submission: Submission, course: Course, level: str) -> str:
    """Return the name of a record's file: a hash of everything that the record depends on."""
    versions = [__version__, version("hypothesis"), version("numpy"), platform.python_version()]
    parts = [(p.lesson.number, p.points, p.lesson.version) for p in course.parts]
    rest = (course.seed, course.variants, course.partial, parts, level, versions)
    return hashlib.sha256(f"{submission.digest}{rest!r}".encode()).hexdigest()[:40]


def read(path: Path, kind: Any = RECORD) -> Any:
    """Read a JSON file, by default a record. Returns None if the file is missing or damaged."""
    try:
        return read_json(path, kind)
    except UserError:
        return None


def is_final(record: dict[str, Any] | None) -> bool:
    """Return True if grading again cannot change a record.

    Not final: an exercise ran out of time, perhaps on a busy machine, or a compiler or a module was missing.
    """
    if record is None:
        return False
    lacking = (NONE, UNJUDGED, "ModuleNotFoundError")
    tasks = [task for lesson in record["lessons"] for task in lesson["tasks"]]
    return not any(task["state"] == "timed_out" or
                   (task["state"] == "blocked" and task["message"].startswith(lacking)) for task in tasks)


def prepare(course: Course, variants: set[int], interrupted: Collection[int] = ()) -> None:
    """Generate all cases and right results now, so that processes forked later share them."""
    if CONTEXT.get_start_method() != "fork":
        return
    tasks = [part.lesson.task(name) for part in course.parts for name in part.points]
    for variant in variants if any(task.kind == "run" for task in tasks) else ():
        if not interrupted:
            capstone.tolerance(variant)
    with specs_only():
        for task, variant in itertools.product(tasks, sorted(variants)):
            if interrupted:
                return
            if task.kind == "op":
                for args in itertools.chain(*properties(task.op, variant=variant).values()):
                    if not interrupted:
                        right(task.op, args)


@contextlib.contextmanager
def interrupts() -> Iterator[list[int]]:
    """Yield a list to which every interrupt, such as Ctrl-C, is appended; no KeyboardInterrupt is raised.

    One that is raised in a callback, such as the garbage collector's, would be printed and forgotten.
    """
    seen, before = list[int](), dict[int, Any]()
    main = threading.current_thread() is threading.main_thread()  # the only one that may set handlers
    for number in (signal.SIGINT, signal.SIGTERM) if main else ():  # background jobs ignore the first
        if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
            before[number] = signal.signal(number, lambda number, frame: seen.append(number))
    try:
        yield seen
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def run_all(todo: list[tuple[Submission, Path]], course: Course, level: str, workers: int,
            step: Callable[[], Any], interrupted: Collection[int] = ()) -> None:
    """Grade submissions in `workers` processes at a time; start no more once `interrupted` is not empty.

    If a process is killed, its workers end too, because their server exits when the socket closes.
    """
    todo, running = list(reversed(todo)), list[tuple[Any, float]]()
    try:
        while todo or running:
            if interrupted:
                raise KeyboardInterrupt
            while todo and len(running) < workers:
                submission, path = todo.pop()
                process = CONTEXT.Process(target=run_one, args=(submission, course, level, str(path)))
                process.start()
                running.append((process, time.monotonic() + SECONDS_PER_SUBMISSION))
            multiprocessing.connection.wait([process.sentinel for process, _ in running], timeout=1)
            for process, deadline in list(running):
                if process.is_alive() and time.monotonic() > deadline:
                    process.kill()
                if not process.is_alive():
                    process.join()
                    running.remove((process, deadline))
                    step()
    finally:
        for process, _ in running:
            process.terminate()  # so that it removes its temporary folders
        for process, _ in running:
            process.join(10)
            process.kill()
            process.join()


def run_one(submission: Submission, course: Course, level: str, path: str) -> None:
    """Grade one submission, and write its record. A grading process runs only this function."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides what an interrupt means
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    for part in course.parts:
        ensure(part.lesson)
    bound_memory()
    whole = load(submission, course.lessons)
    if not whole.problem:  # else its files have changed: the record would have the name of other files
        atomic_write_text(path, json.dumps(grade(whole, course, level), sort_keys=True))


def bound_memory(more: int = 2**30) -> None:
    """Let this process grow by at most `more` bytes, after which MemoryError is raised. Linux only.

    The limits in `protocol` and `mutants` should make this needless. Workers set their own limit.
    """
    if sys.platform != "linux":
        return
    import resource

    with open("/proc/self/statm") as f:
        now = int(f.read().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = now + more if hard == resource.RLIM_INFINITY else min(now + more, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
