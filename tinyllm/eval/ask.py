"""Ask a model the questions of a task: let it write answers, or choose the likeliest of some answers.

An answer depends on the model, the item, its place in the list and the seed. Other items in the batch do not
change its bits.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tinyllm.data import rows, two_texts
from tinyllm.decode.choose import NAN
from tinyllm.decode.engine import Engine
from tinyllm.decode.fill import classes
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
SIZES: dict[str, Callable[[str, list[int]], int]] = {  # what the log-probability of a choice is divided by
    "whole": lambda text, ids: 1,
    "token": lambda text, ids: len(ids),
    "char": lambda text, ids: len(text),
    "byte": lambda text, ids: len(text.encode()),
}


@dataclass(frozen=True)
class Answer:
    """A model's answer to an item of a task, and its score."""

    item: Item
    text: str
    score: float
    confidence: float = 1.0  # the probability of the text, or of the choice among the choices of the item
    ended: bool = True  # False if the text was cut off
    shots: int = 0  # how many solved items stood before the question
    tokens: int = 0  # how many tokens the model read and wrote
    told: list[list[int]] = field(default_factory=list)  # [start, end] of each tool's result in the text
    logprobs: list[float] = field(default_factory=list)  # of the item's choices, if these were compared


def answers(opened: Opened, task: Task, items: Iterable[Item], shots: int = 0, *, first: int = 0, n: int = 1,
            seed: int = 0, **options: Any) -> list[Answer]:
    """Let a model write n answers to each item of a task -> the answers, in the order of the items.

    Before each question stand `shots` training items with their answers, drawn with `seed`, or as many as fit
    into the context. first: the place of the first item in a longer list. options: those of a `Request`, such
    as sampling and max_tokens; by default the likeliest tokens, up to twice the length of the right answer
    plus `spare`, which is SPARE. An option follow(sequence, text) is called after each token; it returns the
    answer so far, perhaps with what it told the sequence.

    Raises UserError when a question does not fit into the model's context, or the tokenizer cannot write the
    right answer.
    """
    items, asked, engine = list(items), [], Engine(opened.model, opened.tokenizer)
    follow, spare = options.pop("follow", None), options.pop("spare", SPARE)
    stop = [*opened.stops, *([] if any(opened.frame) else [task.end])]
    usual = {"sampling": Sampling(temperature=0), "stop": stop, "seed": seed, "overflow": "stop",
             "logprobs": True}
    told = prompts(opened, task, items, shots, seed, first)
    for i, (item, (prompt, shown)) in enumerate(zip(items, told, strict=True), first):
        room = options.get("max_tokens", 2 * len(_spelt(opened.tokenizer, item.answer)) + spare)
        wanted: dict[str, Any] = usual | {"max_tokens": room} | options
        wanted |= opened.lay_out(prompt, room, item.suffix or None, item.picture, suffix_first=True)
        asked += [(item, shown, engine.add(sample=sample, **wanted)) for sample in range(n * i, n * (i + 1))]
    texts = [""] * len(asked)
    for step in engine:
        if step.sequence.error:
            raise UserError(step.sequence.error)
        texts[step.index] += step.text
        if follow:
            texts[step.index] = follow(step.sequence, texts[step.index])
    return [Answer(item, text, task.score(item, text), math.exp(math.fsum(filter(None, s.logprobs))),
                   s.finish == "stop", shown, len(s.ids))
            for text, (item, shown, s) in zip(texts, asked, strict=True)]


def likeliest(opened: Opened, task: Task, items: Iterable[Item], shots: int = 0, *, first: int = 0,
              seed: int = 0, per: str = "whole") -> list[Answer]:
    """Choose the likeliest of each item's choices under a model -> the answers, in the order of the items.

    per: "whole" compares the log-probabilities of the choices; "token", "char" and "byte" divide them by the
    length of the choice. Of equally likely choices the first is taken. A model that was made for
    classification chooses among its classes. Shots and errors are those of `answers`; an item without choices
    is an error.
    """
    items, model, tokenizer, pairs, found = list(items), opened.model, opened.tokenizer, [], []
    if wanting := [item for item in items if not item.choices]:
        raise UserError(f"{task.name} has no choices to compare, as for {wanting[0].question[-40:]!r}: let "
                        "the model write its answers")
    if model.objective == "masked" and getattr(model.config, "labels", None):
        return [_classified(opened, task, item) for item in items]
    told = prompts(opened, task, items, shots, seed, first)
    for item, (prompt, _) in zip(items, told, strict=True):
        begun = [*tokenizer.encode(prompt), *model.end_ids] if isinstance(prompt, str) else prompt
        pairs += [(begun, _spelt(tokenizer, behind(f" {x}", opened.frame))) for x in item.choices]
    longest = max(max(map(len, pair)) if model.is_encoder_decoder else sum(map(len, pair)) for pair in pairs)
    if longest > model.config.context:
        raise UserError(f"a choice of {task.name} does not fit behind its question: the context is "
                        f"{model.config.context}")
    scored = zip(pairs, log_probs(model, pairs), strict=True)
    for item, (_, shown) in zip(items, told, strict=True):
        read, own = zip(*islice(scored, len(item.choices)), strict=True)
        sizes = [SIZES[per](text, ids) for text, (_, ids) in zip(item.choices, read, strict=True)]
        chances = [x / size for x, size in zip(own, sizes, strict=True)]
        best = chances.index(max(chances))
        sure, text = 1 / math.fsum(math.exp(x - chances[best]) for x in chances), item.choices[best]
        tokens = sum(len(ids) for pair in read for ids in pair)
        found.append(Answer(item, text, task.score(item, text), sure, True, shown, tokens, [], chances))
    return found


def _classified(opened, task, item):
    guesses = [guess for guess in classes(opened.model, opened.tokenizer, item.question) if
               guess[0] in item.choices]
    if len(guesses) < len(item.choices):
        raise UserError(f"{task.name} has the choices {', '.join(item.choices)}, and this model the classes "
                        f"{', '.join(opened.model.config.labels)}")
    text, sure = guesses[0]
    logprobs = [math.log(dict(guesses)[choice] or 1e-300) for choice in item.choices]
    return Answer(item, text, task.score(item, text), sure, True, 0,
                  len(opened.tokenizer.encode(item.question)), [], logprobs)


def prompts(opened: Opened, task: Task, items: Sequence[Item], shots: int = 0, seed: int = 0,
            first: int = 0) -> list[tuple[Any, int]]:
    """Return for each item its prompt, the question after `shots` other items with their answers, and shots.

    With a chat template, these are turns, and the prompts are ids; else they are texts. Shots that do not fit
    into the model's context are left out, the last first. Raises UserError when a question does not fit.
    """
    if not items:
        raise UserError(f"{task.name} has no items to ask about")
    model, tokenizer, found = opened.model, opened.tokenizer, []
    if model.silent:
        raise UserError(model.silent)
    if shots and any(item.picture is not None for item in items):
        raise UserError(f"{task.name} shows a picture with each question: ask without shots")
    pool = list(islice(task.items("train"), POOL)) if shots else []
    for i, item in enumerate(items, first):
        others = [each for each in pool if each.question != item.question]
        if len(others) < shots:
            raise UserError(f"{task.name} has {len(others)} other items for training: ask with fewer shots")
        drawn = Random(seed, "shots", i).shuffle(others)[:shots]
        answer = 1 if model.is_encoder_decoder else len(_spelt(tokenizer, item.answer))
        for count in range(shots, -1, -1):
            prompt = _laid_out(opened, task, item, drawn[:count])
            needed = len(prompt if isinstance(prompt, list) else tokenizer.encode(prompt)) + answer
            if needed <= model.config.context or item.suffix:  # the text around a gap is cut to fit
                break
        else:
            raise UserError(f"a question of {task.name} and its answer are {needed} tokens: the context is "
                            f"{model.config.context}")
        found.append((prompt, count))
    return found


def _laid_out(opened, task, item, shots):
    """Return the prompt for an item after some shots: a text, or the ids of turns."""
    tokenizer, frame, ids = opened.tokenizer, opened.frame, []
    if not frame.chat or item.suffix:
        return task.prompt(item, shots, frame)
    for x in shots:
        ids += frame.prompt(tokenizer, x.question, ids)
        ids += frame.answer(tokenizer, behind(x.answer, frame))
    return [*ids, *frame.prompt(tokenizer, item.question, ids), *opened.model.end_ids]


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
    if any(map(math.isnan, found)):
        raise UserError(NAN)
    return found


def _spelt(tokenizer, answer):
    """Return the tokens of an answer. Raises UserError if the tokenizer has no tokens for a part of it."""
    ids = tokenizer.encode(answer)
    if tokenizer.decode(ids) != answer:
        raise UserError(f"the tokenizer cannot write the answer {answer.strip()!r}: it reads it as "
                        f"{tokenizer.decode(ids)!r}")
    return ids
