"""Implement Muon, an optimizer that updates the matrix of a layer by an orthogonal matrix."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.nn import Linear, Module
from tinyllm.train.optimizer import AdamW, decay_groups

# Coefficients (a, b, c) of x -> a x + b x^3 + c x^5, one tuple per iteration. Applied in turn, they map the
# range 0.01 to 1 into 0.72 to 1.28; each is the best of its degree for the range that the previous one gives
# (Amsel et al., "The Polar Express", 2025). Results nearer to 1 take more time and do not train better.
POLYNOMIALS = ((7.5653, -21.5405, 15.7935), (3.8477, -3.2116, 0.7055), (2.6713, -1.9853, 0.4535))
MOMENTUM, SIZE = 0.95, 0.3  # weight of the old mean; a weight's mean change per step, as a multiple of lr
TOGETHER = 1 << 20  # weights of matrices that are orthogonalised together: 4 MiB, so that they stay in cache


def orthogonalize(m: np.ndarray) -> np.ndarray:
    """Make all singular values of matrices about 1: M = U S V^T (..., I, O) -> about U V^T (..., I, O).

    An odd polynomial of a matrix changes only the singular values. It needs only matrix products, so no
    decomposition is computed. Singular values below a hundredth of the matrix's norm stay smaller than 1.
    """
    x = np.ascontiguousarray(m.swapaxes(-1, -2)) if m.shape[-2] > m.shape[-1] else m
    norms = [ops.grad_norm([matrix]) for matrix in x.reshape(-1, *x.shape[-2:])]
    scales = np.array([1 / (1.02 * norm + 1e-30) for norm in norms], np.float32)  # makes singular values < 1
    x = x * scales.reshape(*x.shape[:-2], 1, 1)
    for a, b, c in np.array(POLYNOMIALS, np.float32):
        square = ops.matmul(x, x, transpose_b=True)
        x = a * x + ops.matmul(b * square + c * ops.matmul(square, square), x)
    return x if x.shape == m.shape else x.swapaxes(-1, -2)


class Muon(AdamW):
    """Update matrices of linear layers by their orthogonalised momentum, and other parameters by AdamW.

    A gradient's matrix has a few large singular values and many small ones, so a step along the gradient
    changes the layer in a few directions only. Muon makes all singular values about equal. Its step then
    changes a weight by about 0.3 lr, so that one `lr` suits both kinds of parameters. The group of the
    matrices has `use_muon=True`; see `muon_groups`. (Jordan et al., "Muon", 2024. Liu et al., "Muon is
    Scalable for LLM Training", 2025, use 0.2 lr.)
    """

    def __init__(self, parameters: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.01):
        groups = list(parameters)
        if not (groups and isinstance(groups[0], dict)):
            raise ValueError("Muon needs groups: pass tl.muon_groups(model, weight_decay)")
        super().__init__(groups, lr, betas, eps, weight_decay)
        self.use_muon = [group.get("use_muon", False) for group in groups for _ in group["params"]]
        self.sides = [max(p.shape, default=1) for p in self.parameters]
        self.v = [v[:0] if muon else v for v, muon in zip(self.v, self.use_muon, strict=True)]  # Muon: no v

    def step(self, grad_scale: float = 1.0) -> None:
        """Update every parameter that has a gradient, in place; gradients are multiplied by `grad_scale`.

        Matrices of equal shape are orthogonalised together, because many products at once use all threads.
        """
        super().step(grad_scale)
        alike: dict[tuple[int, ...], list[int]] = {}
        for i, p in enumerate(self.parameters):
            if self.use_muon[i] and p.grad is not None:
                alike.setdefault(p.shape, []).append(i)
        for shape, indices in alike.items():
            count = max(1, TOGETHER // math.prod(shape))
            for first in range(0, len(indices), count):
                self._move(indices[first : first + count], grad_scale)

    def update(self, i: int, p: Any, grad_scale: float) -> None:
        """Update parameter number i in place, unless it is a matrix, which `step` updates."""
        if not self.use_muon[i]:
            super().update(i, p, grad_scale)

    def _move(self, indices: list[int], grad_scale: float) -> None:
        """Move matrices of the same shape along their orthogonalised momentum."""
        beta, ahead = np.float32(MOMENTUM), []
        for i in indices:
            grad, m = self.parameters[i].grad * np.float32(grad_scale), self.m[i]
            m += (1 - beta) * (grad - m)
            ahead.append(beta * m + (1 - beta) * grad)  # Nesterov's momentum
        for i, direction in zip(indices, self.orthogonalized(indices, ahead), strict=True):
            p = self.parameters[i]
            p.data *= np.float32(1 - self.lr * self.weight_decays[i])
            p.data -= np.float32(self.lr * SIZE * self.sides[i] ** 0.5) * direction

    def orthogonalized(self, indices: list[int], matrices: list[np.ndarray]) -> Iterable[np.ndarray]:
        """Return the orthogonalised matrices, which belong to the parameters with these numbers."""
        return orthogonalize(np.stack(matrices))


def muon_groups(model: Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split a model's trainable parameters into groups for `Muon`: matrices of linear layers, and others.

    The others are embeddings, the output layer, biases and the weights of norms. Vectors do not decay.
    """
    linear = {id(layer.weight) for layer in model.of_kind(Linear).values()}
    parameters = model.parameters(trainable=True)
    matrices, vectors = decay_groups((p for p in parameters if id(p) not in linear), weight_decay)
    moved = [p for p in parameters if id(p) in linear]
    return [matrices, vectors, {"params": moved, "use_muon": True, "weight_decay": weight_decay}]
