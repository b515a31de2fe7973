"""A layer of experts: several MLPs, of which every token uses the few that a router chooses."""

import numpy as np

import tinyllm.functional as F
from tinyllm.nn.layers import GatedMLP, Matrix
from tinyllm.nn.module import Module
from tinyllm.tensor import Tensor


class Experts(Module):
    """Send every token to its `top` best experts, and add their results, weighted by the router.

    x (B, T, C) -> (B, T, C). The router's probabilities are a softmax over all E experts; the weights are
    those of the chosen ones, divided by their sum if `normalise`. No token is dropped; of equal
    probabilities the expert with the lower number is chosen. After a call, `load` (E,) says how often a token
    chose each expert on average, and `wanted` (E,) is the mean probability, for `balance_loss`.
    Sources: Shazeer et al., "Outrageously Large Neural Networks", 2017; Jiang et al., "Mixtral of Experts",
    2024, section 2.1.
    """

    def __init__(self, width: int, hidden: int, count: int, top: int, normalise: bool = True):
        self.gate = Matrix(width, count)
        self.experts = [GatedMLP(width, hidden) for _ in range(count)]
        for expert in self.experts:
            for _, part in expert.named_modules():
                part.reached = top / count
        self.top, self.normalise = top, normalise
        self.load, self.wanted = np.zeros(count, np.float32), Tensor(np.zeros(count, np.float32))

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        weights, chosen = self.route(rows)
        y = None
        for number, expert in enumerate(self.experts):
            row, place = np.nonzero(chosen == number)
            if len(row):
                weight = F.take(weights, row * self.top + place)
                part = F.put(expert(F.take(rows, row)) * weight, row, rows.shape[0])
                y = part if y is None else y + part
        assert y is not None
        return y.reshape(*x.shape)

    def route(self, rows: Tensor) -> tuple[Tensor, np.ndarray]:
        """Choose experts: rows (N, C) -> weights (N * top, 1) and their numbers (N, top), the best first."""
        p = F.softmax(self.gate(rows))
        self.wanted = p.mean(axis=0)
        return self.choose(p, p.data)

    def choose(self, p: Tensor, wanted: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """Choose the experts that are `wanted` most, (N, E), and weight them by p (N, E), as `route` does."""
        n, count = p.shape
        chosen = np.argsort(-wanted, axis=-1, kind="stable")[:, : self.top]
        self.load = (np.bincount(chosen.ravel(), minlength=count) / n).astype(p.dtype)
        weights = F.take(p.reshape(n * count, 1), np.arange(n)[:, None] * count + chosen)
        if self.normalise:
            weights = weights / weights.sum(axis=1, keepdims=True)
        return weights.reshape(n * self.top, 1), chosen


def balance_loss(layers: list[Experts]) -> Tensor:
    """Return E * sum(load * mean probability) of the last batch, both averaged over layers: -> ().

    It is `top` when all experts are used alike, and grows when the router prefers the same few: then the
    others learn nothing. Its gradient needs the graph of the last call, which `nn.checkpoint` does not keep.
    (Fedus, Zoph and Shazeer, "Switch Transformers", 2022, section 2.2.)
    """
    load = np.mean([layer.load for layer in layers], axis=0)
    wanted = layers[0].wanted
    for layer in layers[1:]:
        wanted = wanted + layer.wanted
    return (wanted * load).sum() * (len(load) / len(layers))
