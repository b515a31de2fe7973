"""Draw answers from the model that learns, and make batches of them.

Answers are drawn at temperature 1 from all tokens, because their log-probabilities must be those of the
distribution that they came from. On the compiled backend, these are the very bits that the training pass
computes before the first step, so that the ratio of probabilities begins at exactly 1.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinyllm.data import Batch, rows
from tinyllm.decode.engine import Engine
from tinyllm.errors import UserError
from tinyllm.nn import inference
from tinyllm.ops.loss import IGNORED
from tinyllm.runs.opened import Opened

ROWS = 64  # rows of a pass that computes log-probabilities without gradients


@dataclass(frozen=True)
class Rollout(Batch):
    """Drawn answers behind their prompts, a row each. Targets count inside answers, their end included."""

    # The weights (B,) are how much a row adds to the divisor of the loss, see `ops.answer_weights`.
    # (B, T), as tokens and targets, and 0 where no target counts:
    shares: Any = None  # how much each target counts, see `ops.answer_weights`
    old: Any = None  # the log-probabilities with which the targets were drawn
    reference: Any = None  # their log-probabilities under the weights that the run began with
    advantages: Any = None  # how much better than expected the targets were
    values: Any = None  # what the value model expected before each target
    returns: Any = None  # what it should have expected
    # (B,):
    rewards: Any = None  # what training sees
    truths: Any = None  # the true rewards
    ended: Any = None  # 1 if an answer came to its end, 0 if it was cut off
    contrast: Any = None  # 1 if the answers to the same prompt have different rewards
    fresh: Any = None  # 1 if the model has not changed since the answer was drawn


class Drawn(NamedTuple):
    """An answer: the ids of its prompt and its own, their log-probabilities, its text, and if it ended."""

    prompt: list[int]
    ids: list[int]
    logprobs: list[float | None]
    text: str
    ended: bool


def draw(opened: Opened, prompts: Sequence[list[int]], most: int, stop: Sequence[str | int],
         seed: int) -> list[Drawn]:
    """Draw an answer of at most `most` tokens to each prompt -> answers, in the order of the prompts.

    Equal prompts get different answers, as each has its own random stream, named by `seed` and its place.
    Raises UserError when the model's logits are not numbers.
    """
    engine, texts = Engine(opened.model, opened.tokenizer), [""] * len(prompts)
    options: dict[str, Any] = {"max_tokens": most, "stop": stop, "seed": seed, "overflow": "stop"}
    asked = [engine.add(prompt, sample=i, logprobs=True, **options) for i, prompt in enumerate(prompts)]
    for step in engine:
        if step.sequence.error:
            raise UserError(step.sequence.error)
        texts[step.index] += step.text
    return [Drawn(prompt, s.tokens, s.logprobs, text, s.finish == "stop")
            for prompt, s, text in zip(prompts, asked, texts, strict=True)]


def lay_out(drawn: Sequence[Drawn], context: int) -> Rollout:
    """Put drawn answers behind their prompts, with the log-probabilities that they were drawn with."""
    batch = rows([each.prompt for each in drawn], [each.ids for each in drawn], context)
    old = np.zeros(batch.targets.shape, np.float32)
    old[batch.targets != IGNORED] = [x for each in drawn for x in each.logprobs]
    return Rollout(batch.tokens, batch.targets, old=old, ended=np.array([float(x.ended) for x in drawn]))


def frozen(model: Any, batch: Batch, score: str = "log_probs") -> np.ndarray:
    """Return `model.log_probs`, or `scores`, of a batch without gradients -> (B, T)."""
    inputs = (batch.tokens, batch.targets) if score == "log_probs" else (batch.tokens,)
    with inference(model):
        parts = [getattr(model, score)(*(x[i : i + ROWS] for x in inputs)).data
                 for i in range(0, len(batch.tokens), ROWS)]
    return np.concatenate(parts)


class Rollouts:
    """Return the batch of a step: the answers that were drawn less than `epochs` steps ago.

    collect(phase): draws answers with the model as it is now, and returns a Rollout. Every checkpoint has the
    answers in use, so a resumed run continues with them.
    """

    def __init__(self, collect: Callable[[int], Rollout], epochs: int = 1):
        self.collect, self.epochs = collect, epochs
        self.held: tuple[int, Rollout] | None = None

    def __call__(self, step: int) -> Rollout:
        phase, epoch = divmod(step, self.epochs)
        if self.held is None or self.held[0] != phase:
            self.held = phase, self.collect(phase)
        rollout = self.held[1]
        return dataclasses.replace(rollout, fresh=np.full(len(rollout.tokens), float(epoch == 0)))

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the answers in use, for a checkpoint."""
        if self.held is None:
            return {}
        phase, rollout = self.held
        return {"phase": np.array(phase)} | {k: x for k, x in vars(rollout).items() if x is not None}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take the answers of a checkpoint. Raises UserError if they are not those of a `Rollout`."""
        arrays = dict(state)
        known = {"phase", *(field.name for field in dataclasses.fields(Rollout))}
        if arrays and not {"phase", "tokens", "targets"} <= arrays.keys() <= known:
            raise UserError(f"these are not drawn answers: {', '.join(sorted(arrays))[:80]}")
        self.held = (int(arrays.pop("phase")), Rollout(**arrays)) if arrays else None
