"""Score answers with a reward model, and train it to score preferred answers higher than others."""

from collections.abc import Sequence
from typing import Any

import numpy as np

import tinyllm.functional as F
from tinyllm.data import Batch
from tinyllm.errors import UserError
from tinyllm.models.weights import Origin
from tinyllm.nn import inference
from tinyllm.padding import by_length, padded
from tinyllm.runs import Opened
from tinyllm.runs.run import frame_of
from tinyllm.runs.start import open_start
from tinyllm.tensor import Tensor

ROOM = 4096  # how many tokens and padding a pass of `score_texts` reads at most


def last_scores(model: Any, tokens: np.ndarray, lengths: np.ndarray) -> Tensor:
    """Return scores of texts, each at the last token before its padding: (N, T), lengths (N,) -> (N,)."""
    places = np.arange(len(tokens)) * tokens.shape[1] + lengths - 1
    return F.embedding(model.scores(tokens).reshape(-1, 1), places).reshape(-1)


def preferred(model: Any, batch: Batch) -> tuple[Tensor, dict[str, float]]:
    """Return the mean of -log sigmoid(margin) over pairs of a chosen and a rejected answer.

    The margin is the difference of their scores: by Bradley and Terry, its sigmoid is the probability that
    the first answer is preferred (Stiennon et al., "Learning to summarize from human feedback", 2020).
    batch: tokens (B, 2, T), and the lengths of both texts (B, 2) as targets. TRL's names are logged.
    """
    flat = last_scores(model, batch.tokens.reshape(-1, batch.tokens.shape[-1]), batch.targets.reshape(-1))
    both, weights = flat.reshape(-1, 2), np.float32(batch.weights) / batch.count
    losses, margins = F.bradley_terry_loss(both[:, 0], both[:, 1]), both.data[:, 0] - both.data[:, 1]
    numbers = {"accuracy": margins > 0, "margin": margins, "mean_reward": both.data.mean(axis=1)}
    return (losses * weights).sum(), {name: float((x * weights).sum()) for name, x in numbers.items()}


def open_judge(reward: Origin) -> Opened:
    """Open a reward model for `score_texts`.

    Raises UserError for any other model, or when its weights have changed.
    """
    model, tokenizer = open_start(reward)
    if model.objective != "scores":
        raise UserError(f"{reward.folder} is no reward model: give a run of `tinyllm train reward`")
    return Opened(model, tokenizer, frame_of(reward.folder))


def score_texts(opened: Opened, prompts: Sequence[str], answers: Sequence[str],
                ended: Sequence[Any] | None = None) -> np.ndarray:
    """Return a reward model's scores of answers to prompts: N texts, N texts -> float32 (N,).

    Both are framed as in the model's training; an answer gets no end where `ended` is false. A score has the
    same bits whatever texts are scored with it. Raises UserError unless `opened` is a reward model in whose
    context the texts fit.
    """
    tokenizer, frame, most = opened.tokenizer, opened.frame, opened.model.config.context
    texts = [frame.prompt(tokenizer, prompt) + frame.answer(tokenizer, answer, end)
             for prompt, answer, end in zip(prompts, answers, ended or [True] * len(prompts), strict=True)]
    if wrong := [len(text) for text in texts if not 0 < len(text) <= most]:
        raise UserError(f"a prompt with its answer has {wrong[0]} tokens: the reward model reads 1 to {most}")
    found = np.empty(len(texts), np.float32)
    with inference(opened.model):
        for rows in by_length(texts, ROOM):
            found[rows] = last_scores(opened.model, *padded([texts[i] for i in rows])).data
    return found
