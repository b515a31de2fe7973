"""Choose the next tokens of many texts at once by sampling."""

from dataclasses import dataclass

import numpy as np

from tinyllm import ops
from tinyllm.config import check, setting
from tinyllm.errors import UserError, instead


@instead()
@dataclass(frozen=True)
class Sampling:
    """Settings for choosing the next token from the logits.

    They apply in this order: repetition penalty, temperature, top-k, top-p, min-p. Temperature 0 takes the
    likeliest token, and the smallest id of equally likely tokens. Raises UserError on bad settings.
    """

    temperature: float = setting(1.0, min=0)
    top_k: int | None = setting(None, min=1)
    top_p: float | None = setting(None, above=0, max=1)
    min_p: float | None = setting(None, min=0, max=1)
    repetition_penalty: float = setting(1.0, min=0.01, max=100)

    def __post_init__(self) -> None:
        check(self)
        if 0 < self.temperature < 1e-6:  # which would overflow float32
            raise UserError(f"temperature must be 0 (greedy) or at least 0.000001, got {self.temperature}")

    def choose(self, logits: np.ndarray, ids: list[list[int]], uniforms: np.ndarray) -> np.ndarray:
        """Choose the next token of every row.

        logits (B, V); ids: for each row, the prompt and the tokens so far; uniforms (B,), random numbers in
        [0, 1) -> ids (B,). Rows do not depend on each other. Temperature 0 ignores the uniforms.
        """
        if self.repetition_penalty != 1:
            longest = max(map(len, ids))
            used = np.array([row + row[:1] * (longest - len(row)) for row in ids])  # repeats are harmless
            logits = ops.repetition_penalty(logits, used, self.repetition_penalty)
        if self.temperature == 0:
            return np.argmax(logits, axis=-1)
        logits = ops.temperature(logits, self.temperature)
        for drop, limit in ((ops.top_k, self.top_k), (ops.top_p, self.top_p), (ops.min_p, self.min_p)):
            if limit is not None:
                logits = drop(logits, limit)
        return ops.sample(ops.softmax(logits), uniforms)
