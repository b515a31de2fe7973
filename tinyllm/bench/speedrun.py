"""Measure how many tokens and minutes training takes to reach a target loss on held-out text."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tinyllm.bench.peers import load_torch
from tinyllm.bench.setting import SETTINGS
from tinyllm.data import load_corpus, token_array
from tinyllm.ops.runtime import threads
from tinyllm.runs import TrainSetup, make_config, prepare
from tinyllm.runs.pace import seconds_per_step
from tinyllm.tokenizer import make_tokenizer
from tinyllm.train import events

NEAR = 0.05  # nats per character above the floor of a text whose entropy is known: the default target


def measure_speedrun(settings: dict[str, Any], target: float | None = None, minutes: float | None = None,
                     peers: bool = False) -> Iterator[dict]:
    """Train until the loss reaches a target, and yield a record at each evaluation.

    `settings` configure the training: {"train.lr": 1e-3, ...}. `target` is in nats per character; None means
    0.05 above the entropy of the text, and no target if the entropy is unknown. `minutes` replaces the number
    of steps by an estimate of how many fit into this time. Only training steps count as time. With `peers`,
    PyTorch then trains nanoGPT's recipe for CPUs, by characters, for the same time. Raises UserError when
    PyTorch is missing, and when the settings do not fit the data.
    """
    torch = load_torch() if peers else None
    setup = prepare(make_config(settings))
    if minutes is not None:
        steps = max(1, int(60 * minutes / seconds_per_step(setup)))
        setup = prepare(make_config(settings | {"train.steps": steps}))
    floor = setup.facts.entropy_per_char
    goal = floor + NEAR if target is None and floor is not None else target
    record: dict = {}
    for record in _until(goal, "tinyllm", _recipe(setup)):
        yield record
    if torch:
        seconds = record["seconds"] if minutes is None else 60 * minutes
        learnt, held_out, vocab_size = _characters(setup)
        nano = replace(SETTINGS["nano"], vocab_size=vocab_size)
        yield from _until(goal, "nanoGPT", torch.nanogpt(nano, learnt, held_out, seconds, threads()))


def _until(goal: float | None, engine: str, measured: Iterator[dict]) -> Iterator[dict]:
    """Add the engine and the target loss to every record, and stop when the target is reached."""
    for record in measured:
        reached = goal is not None and record["val_loss_per_char"] <= goal
        yield {"bench": "speedrun", "engine": engine, "target": goal, "reached": reached} | record
        if reached:
            return


def _recipe(setup: TrainSetup) -> Iterator[dict]:
    """Train a prepared run -> {step, tokens, seconds, val_loss_per_char} at each evaluation."""
    loop = setup.train()
    loop.sample, tokens, seconds = None, 0, 0.0
    for event in loop:
        if isinstance(event, events.Stepped):
            tokens, seconds = tokens + event.tokens, seconds + event.seconds
        elif isinstance(event, events.Evaluated) and event.step:
            loss = event.val_loss_per_char
            yield {"step": event.step, "tokens": tokens, "seconds": seconds, "val_loss_per_char": loss}


def _characters(setup: TrainSetup) -> tuple[Any, Any, int]:
    """Return the characters of a run's text as ids (training part, held-out part), and how many differ."""
    corpus = load_corpus(setup.config.data)
    tokenizer = make_tokenizer("char", corpus.data)
    learnt, held_out = (
        token_array(part, tokenizer) for part in corpus.split(setup.config.train.val_fraction)
    )
    return learnt, held_out, tokenizer.vocab_size
