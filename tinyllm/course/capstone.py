"""Run the capstone: train a small GPT on a student's own functions, judge its losses, and write a report.

One experiment runs in three ways: for the student's report (functions in the student's own process), for the
checker (functions in a worker, called over a socket), and for the expected losses (the library's functions).
The seed decides the first weights and the batches, so the library's losses for a seed are exact numbers.
The range of the final loss over many seeds is in syllabus.toml.
"""

import functools
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinyllm.course.blame import perturbed, tolerances
from tinyllm.course.checker import Verdict, complaint, format_failure, unusable
from tinyllm.course.lesson_runner import note
from tinyllm.course.plugins import PartFailure, Plugin, plug_in
from tinyllm.course.syllabus import Exercise, find_lesson
from tinyllm.course.workers import Failure
from tinyllm.course.workspace import short_path
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_text
from tinyllm.ops.registry import OPS, override
from tinyllm.runs import TrainSetup, make_config, prepare
from tinyllm.testing.catalog import draw_cases
from tinyllm.testing.relations import specs_only
from tinyllm.train.events import Sampled, Stepped

PARTS = {  # what a GPT's training calls -> the lesson that builds it
    "softmax": 4, "softmax_backward": 4, "cross_entropy": 4, "cross_entropy_backward": 4, "linear": 5,
    "gelu_tanh": 5, "embedding": 5, "layernorm": 5, "layernorm_backward": 5, "attention": 6,
    "adamw_step": 8, "grad_norm": 8, "lr_schedule": 8,
}
SETTINGS = {
    "preset": "nano", "tokenizer": "char",
    "model.context": 16, "model.layers": 2, "model.heads": 2, "model.width": 32, "train.batch": 8,
    "train.steps": 50, "train.lr": 3e-3,
}
STORY = {  # large enough to write, and still half a minute in NumPy
    "preset": "nano", "tokenizer": "bpe:1024", "model.context": 64, "model.layers": 2, "model.heads": 2,
    "model.width": 64, "model.init_std": 0.125, "train.batch": 12, "train.steps": 400, "train.lr": 1e-2,
    "train.eval_every": 400, "train.eval_windows": 12, "train.sample_every": 400, "train.sample_tokens": 90,
    "train.sample_temperature": 0.5, "train.sample_prompt": "Once upon a time",
}
REPORTED_SEEDS = (0, 1, 2)
REPORT = ("report.md", "report.json")  # for people, for programs
LAST = 10  # the final loss is the mean over so many last steps
CASES = 20  # cases on which each function is tried alone


@functools.cache
def setup(seed: int) -> TrainSetup:
    """Prepare the data, tokenizer, settings and model for training with a seed."""
    return prepare(make_config(SETTINGS | {"seed": seed}))


class OutOfTime(PartFailure):
    """A student's function, which replaces an op, did not finish within its worker's time limit."""


def train(seed: int, parts: Sequence[Plugin] = ()) -> list[float]:
    """Train with the student's functions (`parts`) in place of the ops; return the loss of each step.

    Raises PartFailure if a function fails or its results stop the training, OutOfTime if it takes too long.
    """
    return [event.loss for event in run_on(parts, setup(seed).steps())]


def run_on(parts: Sequence[Plugin], training: Iterator[Any]) -> Iterator[Any]:
    """Train with the student's functions (`parts`), and yield events. Raises the same errors as `train`."""
    step = 1
    with plug_in(parts), np.errstate(all="ignore"):
        while True:
            try:
                event = next(training, None)
            except PartFailure:
                raise
            except Exception as error:  # odd results of a part may fail anywhere in the library
                raise PartFailure("", f"training ends at step {step}: {error}") from None
            if event is None:
                return
            step += isinstance(event, Stepped)
            yield event


def tell(parts: Sequence[Plugin] = (), heard: Callable[[int, float], None] = lambda step, loss: None,
         patience: float = 900) -> tuple[list[float], str]:
    """Train a GPT large enough to write stories; return its losses in nats per character, and a story.

    heard(step, loss) is called after each step. Raises PartFailure like `train`, and also if the first five
    steps show that training would take more than `patience` seconds.
    """
    story = prepare(make_config(STORY))
    sample = story.corpus.data[:100_000].decode("utf-8", "ignore")
    per_token = len(sample) / len(story.tokenizer.encode(sample))
    losses, text, times = [], "", []
    for event in run_on(parts, iter(story.train())):
        if isinstance(event, Stepped):
            losses.append(event.loss / per_token)
            heard(event.step, losses[-1])
            times.append(time.monotonic())
            took = (times[-1] - times[0]) / max(len(times) - 1, 1)
            if len(times) == 5 and took * story.config.train.steps > patience:
                raise PartFailure("", f"a step takes {took:.1f} s on your parts, too long for "
                                  f"{story.config.train.steps:,} steps")
        elif isinstance(event, Sampled):
            text = event.text
    return losses, text


@functools.cache
def expected(seed: int) -> tuple[float, ...]:
    """Return the loss of each step when the training uses the library's functions."""
    return tuple(train(seed))


@functools.cache
def tolerance(seed: int) -> tuple[float, ...]:
    """Return the tolerance for the loss of each step, measured by a control run as in `blame`."""
    with override(**{op: perturbed(op) for op in PARTS}):
        return tolerances(expected(seed), train(seed))


def limits() -> tuple[float, float]:
    """Read from syllabus.toml the lowest and highest final loss allowed for any seed."""
    (entry,) = (entry for entry in find_lesson(12).expected if "low" in entry)
    return entry["low"], entry["high"]


def final(losses: Sequence[float]) -> float:
    """Return the final loss of a training: the mean over its last steps."""
    return float(np.mean(losses[-LAST:]))


def seeds(variant: int) -> dict[str, int]:
    """Return {name for messages: seed} of the training runs that a student's functions must pass.

    variant: 0, or a grader's secret number; a student could hard-code the losses of known seeds.
    """
    if not variant:
        return {"seed 0": 0, "seed 1": 1}
    return {"a hidden seed": variant, "another hidden seed": variant + 1}


def expect(variant: int) -> None:
    """Compute and cache the expected losses for `seeds(variant)`, so that later forks have them."""
    for seed in seeds(variant).values():
        tolerance(seed)


def judge(task: Exercise, start: Callable[[], Any], folder: Path | None = None, variant: int = 0,
          **options: Any) -> Verdict:
    """Check that a GPT learns with the functions of an exercise. The arguments are as in `checker.judge`."""
    titles = [ALONE.format(op) for op in PARTS]
    titles += [what.format(name) for name in seeds(variant) for what in (IN_RANGE, AT_EVERY_STEP)]
    with start() as worker:
        if worker.failure:
            return unusable(task, worker.failure, titles)
        yours = [op for op in PARTS if is_there(worker, op)]
    if not yours:
        return Verdict(task.name, "not_attempted", broken=tuple(titles))
    held, why, state = parts_alone(yours, start, variant)
    missing = [op for op in PARTS if op not in yours]
    if why:  # the message is about the first title that does not hold
        titles.sort(key=[ALONE.format(op) for op in missing].__contains__)
    elif missing:
        why = f"not yours yet, but still the library's: {', '.join(missing)}"
    for name, seed in seeds(variant).items() if not why else ():
        try:
            with start() as worker:
                losses = train(seed, [in_worker(worker, op) for op in yours])
        except OutOfTime as failure:  # another training would take as long
            why, state = why or str(failure), "timed_out"
            break
        except PartFailure as failure:
            why = why or str(failure)
            continue
        good, wrong = compared(seed, losses, name)
        held += good
        why = why or wrong
    broken = tuple(title for title in titles if title not in held)
    state = state if broken else "passed"
    return Verdict(task.name, state, tuple(title for title in titles if title in held), broken, why)


ALONE = "yours, and right by itself: {}"  # only these properties earn points
IN_RANGE = "the loss with {} ends in the range"
AT_EVERY_STEP = "the losses with {} are the library's at every step"


def compared(seed: int, losses: Sequence[float], name: str) -> tuple[list[str], str]:
    """Compare a run's losses with the library's; return (properties that hold, message or "")."""
    (low, high), held, why = limits(), [], ""
    apart = np.abs(np.subtract(losses, expected(seed)))
    the_same = bool(np.all(apart <= tolerance(seed)))
    if the_same or low <= final(losses) <= high:
        held.append(IN_RANGE.format(name))
    else:
        why = f"with {name} the loss ends at {final(losses):.4f}, outside of {low} to {high}"
    if the_same:
        held.append(AT_EVERY_STEP.format(name))
    elif not why:
        step = int(np.argmax(~(apart <= tolerance(seed))))
        got, want = losses[step], expected(seed)[step]
        why = f"with {name} the loss at step {step + 1} is {got:.4f}, where {want:.4f} is right"
    return held, why


def parts_alone(yours: list[str], start: Callable[[], Any], variant: int) -> tuple[list[str], str, str]:
    """Check each function alone on its op's cases -> (properties that hold, fault, state of the check).

    Right losses alone would prove nothing, because the student's functions compute them: one function could
    return hard-coded losses, whatever the other functions do.
    """
    held, why, state = [], "", "failed"
    for op in yours:
        with start() as worker, specs_only():
            for args in draw_cases(op, CASES, variant):
                if wrong := complaint(op, "", worker, op, args):
                    break
        if not wrong:
            held.append(ALONE.format(op))
            continue
        more = f"`tinyllm check {PARTS[op]}` says more"
        why = why or f"your {op} is wrong by itself: {format_failure(wrong)}; {more}"
        if isinstance(wrong, Failure) and wrong.state != "failed":  # the others may take as long
            return held, why, wrong.state
    return held, why, state


def is_there(worker: Any, op: str) -> bool:
    """Return True if the exercise defines the function of an op and the stub was changed."""
    answer = worker.call(op, draw_cases(op, CASES)[0])
    return not (isinstance(answer, Failure) and answer.state == "not_attempted")


def in_worker(worker: Any, op: str) -> Plugin:
    """Return a `Plugin` that replaces an op by the student's function, which runs in a worker."""

    def call(*args, **kwargs):
        bound = OPS[op].__signature__.bind(*args, **kwargs)
        bound.apply_defaults()
        args = list(bound.arguments.values())
        answer = worker.call(op, args, send_args=bool(OPS[op].mutates))
        if isinstance(answer, Failure):
            if answer.state == "timed_out":
                took = f"{SETTINGS['train.steps']} steps take more than the time that there is"
                raise OutOfTime(op, f"{took}; it was up in your {op}")
            line = f", line {answer.line}," if answer.line else ""
            raise PartFailure(op, f"your {op}{line} failed: {answer.message}")
        return written_back(op, args, *answer) if OPS[op].mutates else answer

    return Plugin(op, 12, Path("exercise.py"), call)


def written_back(op: str, args: list[Any], value: Any, after: Any) -> Any:
    """Copy arrays that an in-place op changed in a worker (`after`) into `args` here; return `value`."""
    names = list(OPS[op].__signature__.parameters)
    for name in OPS[op].mutates:
        at = names.index(name)
        new = after[at] if isinstance(after, list) and len(after) == len(args) else None
        if not isinstance(new, np.ndarray) or (new.shape, new.dtype) != (args[at].shape, args[at].dtype):
            raise PartFailure(op, f"your {op} leaves {name} with another type or shape")
        args[at][...] = new
    return value


def hand_in(folder: str | Path, parts: list[Plugin], missing: list[str]) -> dict[str, Any]:
    """Train with the student's functions, write report.json and report.md, and return the report.

    The same functions give the same bytes. Raises PartFailure if a function fails.
    """
    runs = []
    for seed in REPORTED_SEEDS:
        losses = train(seed, parts)
        name = f"seed {seed}"
        good, why = compared(seed, losses, name)
        rounded = [round(loss, 4) for loss in losses]
        runs.append({"seed": seed, "first_loss": rounded[0], "final_loss": round(final(losses), 4),
                     "library": round(final(expected(seed)), 4), "in_range": IN_RANGE.format(name) in good,
                     "exact": AT_EVERY_STEP.format(name) in good,
                     "remark": why, "losses": rounded})
    ours = sys.modules["tinyllm"].__version__  # not imported: the package's public names are a layer above
    versions = {"tinyllm": ours, "numpy": np.__version__, "python": platform.python_version()}
    report = {
        "lesson": 12, "versions": versions, "settings": SETTINGS, "range": list(limits()),
        "parts": [part.record() | {"calls": part.calls} for part in parts], "missing": missing, "runs": runs,
        "reached": all(run["exact"] for run in runs) and not missing,  # wrong ones may get there by chance
    }
    try:
        atomic_write_text(Path(folder, REPORT[1]), json.dumps(report, indent=1) + "\n")
        atomic_write_text(Path(folder, REPORT[0]), markdown(report))
    except OSError as error:
        raise UserError(f"cannot write the report to {folder}: {error.strerror}") from None
    return report


def conclusion(report: dict[str, Any], folder: str | Path) -> str:
    """Say if the losses are right, which of the student's functions were used, and where the report is."""
    wrong = [str(run["seed"]) for run in report["runs"] if not run["exact"]]
    missing = len(report["missing"])
    if wrong:
        said = f"a part is wrong: the losses with seed {', '.join(wrong)} are not the library's"
    elif missing:
        said = f"the losses are the library's, but {missing} of {len(PARTS)} parts were still its own"
    else:
        said = "the losses are the library's at every step, on parts that are all yours"
    return "\n".join([said, *(short_path(Path(folder, name)) for name in REPORT)])


def markdown(report: dict[str, Any]) -> str:
    """Format the report as Markdown."""
    low, high = report["range"]
    lines = ["# A GPT on my own parts", ""]
    mine = ", ".join(f"`{part['op']}`" for part in report["parts"]) or "none"
    lines.append(note(f"{len(report['parts'])} of {len(PARTS)} parts are mine: {mine}."))
    if report["missing"]:
        lines += ["", note(f"Still the library's: {', '.join(f'`{op}`' for op in report['missing'])}.")]
    lines += ["", f"The loss must end between {low} and {high}, and be the library's at every step.", ""]
    lines += ["| seed | first loss | final loss | the library's | in range | right at every step |",
              "|---|---|---|---|---|---|"]
    for run in report["runs"]:
        words = " | ".join("yes" if run[key] else "no" for key in ("in_range", "exact"))
        numbers = " | ".join(f"{run[key]:.4f}" for key in ("first_loss", "final_loss", "library"))
        lines.append(f"| {run['seed']} | {numbers} | {words} |")
    lines += [""] + [note(f"{run['remark']}.") + "\n" for run in report["runs"] if run["remark"]]
    lines.append("Made with " + ", ".join(f"{name} {v}" for name, v in report["versions"].items()) + ".")
    return "\n".join(lines) + "\n"
