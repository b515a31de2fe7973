"""Muon: an optimizer that moves the matrix of a layer along an orthogonal matrix."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.nn import Linear, Module
from tinyllm.train.optimizer import AdamW, decay_groups

# Coefficients (a, b, c) of x -> a x + b x^3 + c x^5, one line per iteration. One after the other they bring
# all numbers from 0.01 to 1 into 0.72 to 1.28; each is the best of its degree for the range that the one
# before leaves (Amsel et al., "The Polar Express", 2025). Nearer to 1 would cost time and teach no more.
POLYNOMIALS = ((7.5653, -21.5405, 15.7935), (3.8477, -3.2116, 0.7055), (2.6713, -1.9853, 0.4535))


def orthogonalize(m: np.ndarray) -> np.ndarray:
    """Bring all singular values of a matrix near to 1: M = U S V^T (I, O) -> about U V^T (I, O).

    An odd polynomial of a matrix acts on its singular values alone and needs only products, so no
    decomposition is computed. Singular values below a hundredth of the matrix's norm stay smaller.
    """
    x = np.ascontiguousarray(m.T) if m.shape[0] > m.shape[1] else m
    x = x * np.float32(1 / (1.02 * ops.grad_norm([x]) + 1e-30))  # no singular value is above 1 then
    for a, b, c in np.array(POLYNOMIALS, np.float32):
        square = ops.matmul(x, x, transpose_b=True)
        x = a * x + ops.matmul(b * square + c * ops.matmul(square, square), x)
    return x if x.shape == m.shape else x.T


class Muon(AdamW):
    """Move matrices of linear layers along their orthogonalised momentum, other parameters as AdamW does.

    A gradient's matrix has a few large singular values and many small ones, so a step along the gradient
    changes the layer in a few directions only. Muon makes all singular values about equal. Such a step
    changes a weight by about 0.3 lr, so that one `lr` suits both kinds of parameters. The group of the
    matrices has `use_muon=True`; see `muon_groups`. (Jordan et al., "Muon", 2024; the size: Liu et al., "Muon
    is Scalable for LLM Training", 2025, who take 0.2.)
    """

    def __init__(self, parameters: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.01, momentum: float = 0.95, size: float = 0.3):
        groups = list(parameters)
        if not (groups and isinstance(groups[0], dict)):
            raise ValueError("Muon needs groups: pass tl.muon_groups(model, weight_decay)")
        super().__init__(groups, lr, betas, eps, weight_decay)
        self.momentum, self.size = momentum, size
        self.use_muon = [group.get("use_muon", False) for group in groups for _ in group["params"]]
        self.v = [v[:0] if muon else v for v, muon in zip(self.v, self.use_muon, strict=True)]  # has none

    def update(self, i: int, p: Any, lr: float, grad_scale: float) -> None:
        """Update parameter number i in place, with its own learning rate."""
        if not self.use_muon[i]:
            return super().update(i, p, lr, grad_scale)
        grad, m, beta = p.grad * np.float32(grad_scale), self.m[i], np.float32(self.momentum)
        m += (1 - beta) * (grad - m)
        ahead = beta * m + (1 - beta) * grad  # Nesterov's momentum
        p.data *= np.float32(1 - lr * self.weight_decays[i])
        p.data -= np.float32(lr * self.size * max(p.shape) ** 0.5) * orthogonalize(ahead)


def muon_groups(model: Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split a model's trainable parameters into groups for `Muon`: the matrices of linear layers, and others.

    Embeddings, the output layer, biases and the weights of norms are others; vectors do not decay.
    """
    linear = {id(part.weight) for _, part in model.named_modules() if isinstance(part, Linear)}
    parameters = model.parameters(trainable=True)
    matrices, vectors = decay_groups((p for p in parameters if id(p) not in linear), weight_decay)
    moved = [p for p in parameters if id(p) in linear]
    return [matrices, vectors, {"params": moved, "use_muon": True, "weight_decay": weight_decay}]
