"""Mistakes that people really make, one file per file of ops.

Each is a function with its op's signature. They test the tests: `check` must catch every one. And they name a
student's bug: see `diagnose`.
"""

from tinyllm.testing.mistake import MISTAKES
from tinyllm.testing.mistakes import (
    attention,
    bpe,
    elementwise,
    embedding,
    loss,
    lowp,
    matmul,
    norm,
    optim,
    rope,
    sample,
    softmax,
)

PARTS = (attention, bpe, elementwise, embedding, loss, lowp, matmul, norm, optim, rope, sample, softmax)
__all__ = ["MISTAKES", "PARTS"]
