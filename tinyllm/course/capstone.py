"""Train a small GPT on a student's own functions, and compare its losses with those of the library.

The same training runs in the lesson (functions in the student's own process), in the checker (functions in a
worker, called over a socket) and on the library's functions. The seed decides the first weights and the
batches, so the library's losses are exact numbers.
"""

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinyllm.course.blame import Blame
from tinyllm.course.checker import Verdict, complaint, format_failure, unusable
from tinyllm.course.plugins import PartFailure, Plugin, attempted, import_file, make_part, plug_in
from tinyllm.course.syllabus import Exercise, built_in, find_lesson
from tinyllm.course.workers import Failure
from tinyllm.course.workspace import MAX_FILE, short_path
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_text, read_text
from tinyllm.ops.registry import OPS
from tinyllm.runs import make_config, prepare
from tinyllm.testing.catalog import draw_cases
from tinyllm.testing.relations import bind, specs_only
from tinyllm.train.events import Sampled, Stepped

(TASK,) = find_lesson(12).tasks
PARTS = {op: built_in()[op] for op in TASK.parts}  # op that a GPT's training calls -> number of its lesson
SETTINGS = {
    "preset": "nano", "tokenizer": "char",
    "model.context": 16, "model.layers": 2, "model.heads": 2, "model.width": 32, "train.batch": 8,
    "train.steps": 50, "train.lr": 3e-3,
}
STORY = {  # large enough to write stories, small enough to train in half a minute with NumPy
    "preset": "nano", "tokenizer": "bpe:1024", "model.context": 64, "model.layers": 2, "model.heads": 2,
    "model.width": 64, "model.init_std": 0.125, "train.batch": 12, "train.steps": 400, "train.lr": 1e-2,
    "train.eval_every": 400, "train.eval_windows": 12, "train.sample_every": 400, "train.sample_tokens": 90,
    "train.sample_temperature": 0.5, "train.sample_prompt": "Once upon a time",
}
CASES = 20  # cases on which each function is tried alone
ALONE = "yours, and right by itself: {}"
TRAINED = "the losses of a training are the library's at every step"
MARK = "# gathered from your lessons; SHA-256 of what follows: "


def gather(folder: str | Path) -> str:
    """Copy what a student wrote in lessons 4 to 9 into folder/exercise.py; return a line about the result.

    The folders of these lessons must be next to `folder`. A file that the student has changed is kept.
    Raises UserError if an exercise is not valid Python, or if two exercises define a name differently.
    """
    target, starter = Path(folder).absolute() / "exercise.py", find_lesson(12).starter
    text = read_text(target, MAX_FILE) if target.is_file() else starter
    first, _, rest = text.partition("\n")
    if text != starter and first != MARK + hashlib.sha256(rest.encode()).hexdigest():
        return f"{short_path(target)} has work of yours in it and was left alone"
    sources, known = {}, dict[str, str]()
    for lesson in map(find_lesson, range(4, 10)):
        path = target.parents[1] / lesson.folder / "exercise.py"
        source = read_text(path, MAX_FILE, "utf-8-sig") if path.is_file() else ""
        written = attempted(source, lesson.starter, path)
        if written:
            sources[lesson.number] = source
        for name, code in written.items():
            if known.setdefault(name, code) != code:
                twice = f"{name} is something else in an earlier lesson; rename one"
                raise UserError(f"{short_path(path)}: {twice}")
    if not sources:
        return f"nothing has been written in lessons 4 to 9 beside {short_path(folder)} yet"
    body = "\n\n".join(sources.values())
    atomic_write_text(target, MARK + hashlib.sha256(body.encode()).hexdigest() + "\n" + body)
    return f"lessons {', '.join(map(str, sources))} were gathered in {short_path(target)}"


def parts_in(folder: str | Path) -> tuple[list[Plugin], list[str]]:
    """Import the capstone's functions from folder/exercise.py; return them and the missing names."""
    path = Path(folder).absolute() / "exercise.py"
    there = attempted(read_text(path, MAX_FILE, "utf-8-sig"), "", path)
    module = import_file(path)
    parts = [make_part(op, 12, path, module) for op in PARTS if op in there]
    return parts, [op for op in PARTS if op not in there]


@functools.cache
def reference(seed: int) -> Blame:
    """Return the training with a seed: its setup, what is right and what is allowed on each step."""
    return Blame(prepare(make_config(SETTINGS | {"seed": seed})), PARTS, SETTINGS["train.steps"])


def train(seed: int, parts: Sequence[Plugin] = ()) -> list[float]:
    """Train with the student's `parts`; return the loss of each step. Raises PartFailure if one fails."""
    return [event.loss for event in run_on(parts, reference(seed).setup.steps())]


def run_on(parts: Sequence[Plugin], training: Iterable[Any]) -> Iterator[Any]:
    """Run `training` with the student's functions (`parts`), and yield its events. Raises like `train`."""
    with plug_in(parts), np.errstate(all="ignore"):
        try:
            yield from training
        except PartFailure:
            raise
        except Exception as error:  # wrong results of a student's function may fail anywhere in the library
            raise PartFailure(f"the training ends: {error}") from None


def tell(parts: Sequence[Plugin] = (),
         heard: Callable[[int, float], None] = lambda step, loss: None) -> tuple[list[float], str]:
    """Train a GPT large enough to write stories; return its losses in nats per character, and a story.

    heard(step, loss) is called after each step. Raises PartFailure like `train`.
    """
    story = prepare(make_config(STORY))
    sample = story.corpus.data[:100_000].decode("utf-8", "ignore")
    per_token = len(sample) / len(story.tokenizer.encode(sample))
    losses, text = [], ""
    for event in run_on(parts, story.train()):
        if isinstance(event, Stepped):
            losses.append(event.loss / per_token)
            heard(event.step, losses[-1])
        elif isinstance(event, Sampled):
            text = event.text
    return losses, text


def difference(seed: int, losses: Sequence[float]) -> str:
    """Return a line about the first loss that is not the library's, or ""."""
    right, allowed = reference(seed).right[:, 0], reference(seed).allowed[:, 0]
    wrong = ~(np.abs(np.subtract(losses, right)) <= allowed)
    if not wrong.any():
        return ""
    step = int(np.argmax(wrong))
    return f"the loss at step {step + 1} is {losses[step]:.4f}, where {right[step]:.4f} is right"


def cases(task: Exercise, variant: int = 0) -> dict[str, list[tuple]]:
    """Return the cases of the capstone -> {property: list of argument tuples}; the last case is a seed."""
    alone = {ALONE.format(op): draw_cases(op, CASES, variant) for op in PARTS}
    return alone | {TRAINED: [(variant,)]}


def judge(task: Exercise, start: Callable[[], Any], folder: Path | None = None, variant: int = 0,
          **options: Any) -> Verdict:
    """Check that a GPT learns with a student's functions. variant: the seed of training and cases."""
    every = cases(task, variant)
    with start() as worker:
        if worker.failure:
            return unusable(task, worker.failure, every)
        answers = {op: worker.call(op, draw_cases(op, CASES)[0]) for op in PARTS}
    missing = [op for op in PARTS if getattr(answers[op], "state", "") == "not_attempted"]
    if len(missing) == len(PARTS):
        return Verdict(task.name, "not_attempted", broken=tuple(every))
    held, why, state = parts_alone([op for op in PARTS if op not in missing], start, every)
    if not why and missing:
        why = f"not yours yet, but still the library's: {', '.join(missing)}"
    elif not why:
        try:
            with start() as worker:
                why = difference(variant, train(variant, [in_worker(worker, op) for op in PARTS]))
            held, state = (held, "failed") if why else ([*held, TRAINED], "passed")
        except PartFailure as failure:
            why, state = str(failure), failure.state
    return Verdict(task.name, state, tuple(held), tuple(title for title in every if title not in held), why)


def parts_alone(yours: list[str], start: Callable[[], Any],
                every: dict[str, list[tuple]]) -> tuple[list[str], str, str]:
    """Check each function alone on its op's cases -> (properties that hold, fault, state of the check).

    Right losses alone would prove nothing, because the student's functions compute them: one function could
    return hard-coded losses, whatever the other functions do.
    """
    held, why = [], ""
    for op in yours:
        with start() as worker, specs_only():
            for args in every[ALONE.format(op)]:
                if wrong := complaint(op, "", worker, op, args):
                    break
        if not wrong:
            held.append(ALONE.format(op))
            continue
        more = f"`tinyllm check {PARTS[op]}` says more"
        why = why or f"your {op} is wrong by itself: {format_failure(wrong)}; {more}"
        if isinstance(wrong, Failure) and wrong.state != "failed":  # the others may also take too long
            return held, why, wrong.state
    return held, why, "failed"


def in_worker(worker: Any, op: str) -> Plugin:
    """Return a `Plugin` that replaces an op by the student's function, which runs in a worker."""

    def call(*args, **kwargs):
        given, changes = bind(op, args, kwargs), OPS[op].mutates
        answer = worker.call(op, list(given.values()), send_args=bool(changes))
        if isinstance(answer, Failure):
            line = f", line {answer.line}," if answer.line else ""
            raise PartFailure(f"your {op}{line} failed: {answer.message}", answer.state)
        value, after = answer if changes else (answer, [])
        found = dict(zip(given, after, strict=False)) if isinstance(after, list) else {}
        for name in changes:  # the worker changed copies: copy the changes back
            new, old = found.get(name), given[name]
            if not isinstance(new, np.ndarray) or (new.shape, new.dtype) != (old.shape, old.dtype):
                raise PartFailure(f"your {op} leaves {name} with another type or shape")
            old[...] = new
        return value

    return Plugin(op, 12, Path("exercise.py"), call)
