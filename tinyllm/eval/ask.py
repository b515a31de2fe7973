"""Ask a model the questions of a task: let it write answers, or choose the likeliest of some answers.

An answer depends on the model, the item, its place in the list and the seed. It has the same bits whatever
other items are in the batch.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tinyllm.data import rows, two_texts
from tinyllm.decode.engine import Engine
from tinyllm.decode.sampling import Sampling
from tinyllm.errors import UserError
from tinyllm.eval.task import Item, Task, behind
from tinyllm.nn import inference
from tinyllm.nn.attention import Seen
from tinyllm.rng import Random
from tinyllm.runs import Opened

POOL = 500  # shots are drawn from the first 500 training items
BATCH = 32  # how many texts a pass of `likeliest` reads
SPARE = 16  # an answer may have twice the tokens of the right one, and this many more


@dataclass(frozen=True)
class Answer:
    """A model's answer to an item of a task, and its score."""

    item: Item
    text: str
    score: float


def answers(opened: Opened, task: Task, items: Iterable[Item], shots: int = 0, *, n: int = 1, seed: int = 0,
            **options: Any) -> list[Answer]:
    """Let a model write n answers to each item of a task -> the answers, in the order of the items.

    Before each question stand `shots` training items with their answers, drawn with `seed`. options: those of
    a `Request`, such as sampling and max_tokens; by default the likeliest tokens, up to twice the length of
    the right answer plus SPARE. Raises UserError when a question with its shots does not fit into the model's
    context, or the tokenizer cannot write the right answer.
    """
    items, asked = list(items), []
    engine = Engine(opened.model, opened.tokenizer)
    stop = [*opened.stops, *([] if any(opened.frame) else [task.end])]
    usual = {"sampling": Sampling(temperature=0), "stop": stop, "seed": seed, "overflow": "stop"}
    for i, (item, prompt) in enumerate(zip(items, prompts(opened, task, items, shots, seed), strict=True)):
        room = options.get("max_tokens", 2 * len(_spelt(opened.tokenizer, item.answer)) + SPARE)
        wanted: dict[str, Any] = usual | {"max_tokens": room} | options
        wanted |= opened.lay_out(prompt, room, item.suffix or None, item.picture, suffix_first=True)
        for sample in range(n * i, n * (i + 1)):
            engine.add(sample=sample, **wanted)
            asked.append(item)
    texts = [""] * len(asked)
    for step in engine:
        if step.sequence.error:
            raise UserError(step.sequence.error)
        texts[step.sequence.index] += step.text
    return [Answer(item, text, task.score(item, text)) for item, text in zip(asked, texts, strict=True)]


def likeliest(opened: Opened, task: Task, items: Iterable[Item], shots: int = 0, *,
              seed: int = 0) -> list[Answer]:
    """Choose the likeliest of each item's choices under a model -> the answers, in the order of the items.

    Of equally likely choices the first is taken. Shots and errors are those of `answers`; an item without
    choices is an error, too.
    """
    items, tokenizer, pairs = list(items), opened.tokenizer, []
    for item, prompt in zip(items, prompts(opened, task, items, shots, seed), strict=True):
        if not item.choices:
            raise UserError(f"{task.name} has no choices to compare: let the model write its answers")
        choices = (behind(f" {choice}", opened.frame) for choice in item.choices)
        begun = [*tokenizer.encode(prompt), *opened.model.end_ids] if isinstance(prompt, str) else prompt
        pairs += [(begun, _spelt(tokenizer, choice)) for choice in choices]
    context, apart = opened.model.config.context, opened.model.is_encoder_decoder
    for begun, choice in pairs:
        longest = max(len(begun), len(choice)) if apart else len(begun) + len(choice)
        if longest > context:
            raise UserError(f"a choice of {task.name} does not fit behind its question: the context is "
                            f"{context}")
    scores, found = iter(log_probs(opened.model, pairs)), []
    for item in items:
        chances = list(islice(scores, len(item.choices)))
        best = item.choices[chances.index(max(chances))]
        found.append(Answer(item, best, task.score(item, best)))
    return found


def prompts(opened: Opened, task: Task, items: Sequence[Item], shots: int = 0,
            seed: int = 0) -> list[Any]:
    """Return the prompt for each item: its question after `shots` other items with their answers.

    With a chat template, these are turns, and the prompts are ids; else they are texts. Raises UserError when
    they do not fit into the model's context.
    """
    if not items:
        raise UserError(f"{task.name} has no items to ask about")
    model, tokenizer, found = opened.model, opened.tokenizer, list[Any]()
    if model.silent:
        raise UserError(model.silent)
    if shots and any(item.picture is not None for item in items):
        raise UserError(f"{task.name} shows a picture with each question: ask without shots")
    pool = list(islice(task.items("train"), POOL if shots else 0))
    for i, item in enumerate(items):
        others = [each for each in pool if each.question != item.question]
        if len(others) < shots:
            raise UserError(f"{task.name} has {len(others)} other items for training: ask with fewer shots")
        told, frame = Random(seed, "shots", i).shuffle(others)[:shots], opened.frame
        is_turn, ids = frame.chat and not item.suffix, list[int]()
        for x in told:
            ids += frame.prompt(tokenizer, x.question, ids)
            ids += frame.answer(tokenizer, behind(x.answer, frame))
        ids += frame.prompt(tokenizer, item.question, ids) + model.end_ids
        found.append(ids if is_turn else task.prompt(item, told, frame))
        tokens = len(ids if is_turn else tokenizer.encode(found[-1]))
        needed = tokens + (1 if model.is_encoder_decoder else len(_spelt(tokenizer, item.answer)))
        if needed > model.config.context and not item.suffix:  # the text around a gap is cut to fit
            raise UserError(f"{shots} shots of {task.name}, a question and its answer are {needed} tokens: "
                            f"the context is {model.config.context}")
    return found


def log_probs(model: Any, pairs: Sequence[tuple[list[int], list[int]]]) -> list[float]:
    """Return the log-probability in nats of each pair's second text, given the first, both as ids."""
    found: list[float] = []
    layout, context = two_texts if model.is_encoder_decoder else rows, model.config.context
    with inference(model):
        for i in range(0, len(pairs), BATCH):
            before, after = zip(*pairs[i : i + BATCH], strict=True)
            batch = layout(before, after, context)
            losses = model.token_losses(batch.tokens, batch.targets, seen=Seen(lengths=batch.lengths)).data
            found += [-math.fsum(row) for row in losses.tolist()]  # exact: padding changes nothing
    return found


def measure(opened: Opened, task: Task, shots: int = 0, limit: int = 200, likelihood: bool = False,
            seed: int = 0) -> dict[str, Any]:
    """Ask a model the first test items of a task -> {"task", "score", "low", "high", "chance", "n"}.

    The score is a mean from 0 to 1, low to high its 95 % interval, chance the mean score of guessing, n the
    number of items. `likelihood` compares the choices of an item; otherwise the model writes. Raises
    UserError for fewer than 0 shots or 1 item, and where `answers` or `likeliest` do.
    """
    if shots < 0 or limit < 1:
        raise UserError(f"shots must be at least 0, limit at least 1; got {shots} and {limit}")
    ask = likeliest if likelihood else answers
    scores = [x.score for x in ask(opened, task, islice(task.items("test"), limit), shots, seed=seed)]
    low, high = interval(scores)
    return {"task": task.name, "score": sum(scores) / len(scores), "low": low, "high": high,
            "chance": task.chance, "n": len(scores)}


def interval(scores: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean of scores from 0 to 1 (Wilson, 1927)."""
    n, z = len(scores), 1.959964
    mean = math.fsum(scores) / n
    centre, half = mean + z * z / (2 * n), z * math.sqrt(mean * (1 - mean) / n + (z / (2 * n)) ** 2)
    return max(0.0, (centre - half) / (1 + z * z / n)), min(1.0, (centre + half) / (1 + z * z / n))


def _spelt(tokenizer, answer):
    """Return the tokens of an answer. Raises UserError if the tokenizer has no tokens for a part of it."""
    ids = tokenizer.encode(answer)
    if tokenizer.decode(ids) != answer:
        raise UserError(f"the tokenizer cannot write the answer {answer.strip()!r}: it reads it as "
                        f"{tokenizer.decode(ids)!r}")
    return ids
