"""Define a mixture of experts: several MLPs, of which a router chooses a few for each token."""

import numpy as np

import tinyllm.functional as F
from tinyllm import ops
from tinyllm.nn.layers import GatedMLP, Linear, Matrix, plain
from tinyllm.nn.module import Module
from tinyllm.ops.experts import expert_counts, groups
from tinyllm.tensor import Tensor


class Experts(Module):
    """Send every token to its `top` best experts, and add their results, weighted by the router.

    x (B, T, C) -> (B, T, C). The router's probabilities are a softmax over all E experts. The weights are the
    probabilities of the chosen experts, divided by their sum if `normalise`. No token is dropped; of equal
    probabilities the expert with the lower number is chosen. After a call on N tokens, `p` (N, E) has the
    probabilities, for `balance_loss`, and `chosen` (N, top) the experts that each token used.

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
        self.p, self.chosen = Tensor(np.zeros((0, count), np.float32)), np.zeros((0, top), np.int64)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        weights, self.chosen = self.route(rows)
        order = np.argsort(self.chosen, axis=None, kind="stable")  # token * top + rank, sorted by expert
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        y = self.apply(F.take(rows, order // self.top))
        return F.combine_experts(y, weights, back.reshape(-1, self.top)).reshape(*x.shape)

    @property
    def counts(self) -> np.ndarray:
        """Count how many tokens chose each expert in the last call -> (E,) int64."""
        return expert_counts(self.chosen, len(self.experts))

    def apply(self, x: Tensor) -> Tensor:
        """Apply the experts to rows that are sorted by expert: x (N * top, C) -> (N * top, C)."""
        e, counts = self.experts, self.counts
        replaced = ops.linear.replaced and not ops.grouped_linear.replaced
        if replaced or not all(unchanged(expert) for expert in e):
            parts = [np.arange(rows.start, rows.stop) for rows in groups(counts)]
            return F.concat([expert(F.take(x, part)) for expert, part in zip(e, parts, strict=True)
                             if len(part)], axis=0)
        gate = F.grouped_linear(x, [expert.gate_proj.weight for expert in e], counts)
        up = F.grouped_linear(x, [expert.up_proj.weight for expert in e], counts)
        return F.grouped_linear(F.swiglu(gate, up), [expert.down_proj.weight for expert in e], counts)

    def route(self, rows: Tensor) -> tuple[Tensor, np.ndarray]:
        """Choose experts for tokens: (N, C) -> weights (N, top), expert numbers (N, top), the best first."""
        self.p = F.softmax(self.gate(rows))
        return self.weigh(self.p, self.p.data)

    def weigh(self, p: Tensor, scores: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """Choose experts by scores (N, E), and weight them by p (N, E) -> weights, numbers, both (N, top)."""
        weights, chosen = F.route(p, scores, self.top)
        return weights / weights.sum(axis=1, keepdims=True) if self.normalise else weights, chosen


def unchanged(expert: GatedMLP) -> bool:
    """Return True if an expert is a plain GatedMLP: no `tap` on it, no layer quantized or replaced."""
    layers = expert.gate_proj, expert.up_proj, expert.down_proj
    return plain(expert, GatedMLP) and all(plain(layer, Linear) for layer in layers)


def balance_loss(layers: list[Experts]) -> Tensor:
    """Return `ops.balance_loss` for the last batch, with the tokens of all layers together -> ().

    The loss is `top` for a balanced router, and is larger when most tokens go to experts with a large p: then
    other experts learn nothing. Its gradient needs the graph of the last call, which `tl.checkpoint` drops.
    """
    p = F.concat([layer.p for layer in layers], axis=0)
    return F.balance_loss(p, np.concatenate([layer.chosen for layer in layers]))
