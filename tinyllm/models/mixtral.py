"""Define Mixtral: LLaMA with a mixture of experts as its MLP. Jiang et al., "Mixtral of Experts", 2024.

Every token uses 2 of 8 MLPs, so the model has the parameters of a large model at the cost of a small one. The
layer is `Experts`. While training, the loss contains a term that is small if all experts are used.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import tinyllm.functional as F
from tinyllm import nn, ops
from tinyllm.arrays import ArrayLike
from tinyllm.config import setting
from tinyllm.errors import UserError
from tinyllm.models.layout import NO_BIAS
from tinyllm.models.llama import Llama, LlamaBlock
from tinyllm.models.mistral import MistralConfig
from tinyllm.models.sizes import SIZE
from tinyllm.nn.layers import plain
from tinyllm.ops.experts import expert_counts, groups
from tinyllm.tensor import Tensor, record

EXPERTS = ("num_experts", "num_local_experts")  # config.json has either name


@dataclass(frozen=True)
class MixtralConfig(MistralConfig):
    """The sizes of a Mixtral: all sizes of Mistral, and its experts. Raises UserError if inconsistent."""

    normalise = True  # not a setting, but a derived family may override it

    experts: int = setting(8, **SIZE, hf=EXPERTS, help="E: how many experts there are")
    top: int = setting(2, **SIZE, hf="num_experts_per_tok", help="how many of them a token uses")
    balance: float = setting(0.001, min=0, max=100, hf="router_aux_loss_coef",
                             help="the weight of the load-balancing loss")

    def __post_init__(self):
        super().__post_init__()
        if self.top > self.experts:
            raise UserError(f"a token cannot use top = {self.top} of {self.experts} experts")


class Experts(nn.Module):
    """Send every token to its `top` best experts, and add their results, weighted by the router.

    x (B, T, C) -> (B, T, C). The router's probabilities are a softmax over all E experts. The weights are the
    probabilities of the chosen experts, divided by their sum if `normalise`. No token is dropped; of equal
    probabilities the expert with the lower number is chosen. After a call on N tokens, `p` (N, E) has the
    probabilities, for the loss, and `chosen` (N, top) the experts that each token used.

    Sources: Shazeer et al., "Outrageously Large Neural Networks", 2017; Jiang et al., "Mixtral of Experts",
    2024, section 2.1.
    """

    def __init__(self, width: int, hidden: int, count: int, top: int, normalise: bool = True):
        self.gate = nn.Matrix(width, count)
        self.experts = [nn.GatedMLP(width, hidden) for _ in range(count)]
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
        y = self.apply(F.embedding(rows, order // self.top))
        return F.apply(ops.combine_experts, y, weights, back.reshape(-1, self.top)).reshape(*x.shape)

    @property
    def counts(self) -> np.ndarray:
        """Count how many tokens chose each expert in the last call -> (E,) int64."""
        return expert_counts(self.chosen, len(self.experts))

    def apply(self, x: Tensor) -> Tensor:
        """Apply the experts to rows that are sorted by expert: x (N * top, C) -> (N * top, C)."""
        replaced = ops.linear.replaced and not ops.grouped_linear.replaced
        if replaced or not all(map(unchanged, self.experts)):
            parts = [(expert, np.arange(rows.start, rows.stop))
                     for expert, rows in zip(self.experts, groups(self.counts), strict=True)]
            return F.concat([expert(F.embedding(x, rows)) for expert, rows in parts if len(rows)], axis=0)

        def linear(x, part):
            return grouped_linear(x, [getattr(expert, part).weight for expert in self.experts], self.counts)

        return linear(F.swiglu(linear(x, "gate_proj"), linear(x, "up_proj")), "down_proj")

    def route(self, rows: Tensor) -> tuple[Tensor, np.ndarray]:
        """Choose experts for tokens: (N, C) -> weights (N, top), expert numbers (N, top), the best first."""
        self.p = p = F.softmax(self.gate(rows))
        found, chosen = ops.route(p.data, p.data, self.top)
        weights = record(found, (p,), lambda dweights: (ops.route_backward(dweights, p.data, chosen),))
        return weights / weights.sum(axis=1, keepdims=True) if self.normalise else weights, chosen


def grouped_linear(x: Tensor, w: list[nn.Parameter], counts: np.ndarray) -> Tensor:
    """Multiply each group of rows by its own matrix: x (N, I), w: E of (I, O), counts (E,) -> (N, O)."""
    def forward():
        return ops.grouped_linear(x.data, [matrix.data for matrix in w], counts)

    def backward(dy):
        dx, dw = ops.grouped_linear_backward(dy, x.data, [matrix.data for matrix in w], counts)
        return dx, *dw

    return record(forward(), (x, *w), backward, again=forward)


def unchanged(expert: nn.GatedMLP) -> bool:
    """Return True if an expert is a plain GatedMLP: no `tap` on it, no layer quantised or replaced."""
    return plain(expert, nn.GatedMLP) and all(plain(part, nn.Linear) for _, part in expert.named_children())


class MixtralBlock(LlamaBlock):
    """Run LLaMA's transformer block with experts as the MLP: (B, T, C) -> (B, T, C)."""

    @staticmethod
    def make_mlp(config: MixtralConfig) -> Experts:
        return Experts(config.width, config.hidden, config.experts, config.top, config.normalise)


class Mixtral(Llama):
    """A Mixtral model: tokens (B, T) -> logits (B, T, V)."""

    model_type = "mixtral"
    architecture = "MixtralForCausalLM"
    config_class: ClassVar[type] = MixtralConfig
    block = MixtralBlock
    PRESETS = {  # the two experts of a token compute as much as the MLP in LLaMA's preset
        name: Llama.PRESETS[name] | {"hidden": Llama.PRESETS[name]["hidden"] // 2}
        for name in ("laptop", "nano", "mini", "small")
    }
    layout = Llama.layout.extended(
        defaults={"num_key_value_heads": 8, "rope_theta": 1000000.0, "rms_norm_eps": 1e-5},
        fixed=NO_BIAS,
        names=(("block_sparse_moe.", "mlp."), (".w1.", ".gate_proj."), (".w2.", ".down_proj."),
               (".w3.", ".up_proj.")),
    )

    def loss(self, tokens: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None,
             **inputs: Any) -> Tensor:
        """Return `LanguageModel.loss`, in training mode plus `balance` times `ops.balance_loss`.

        The balance loss is computed over the tokens of all layers together. It is `top` for a balanced
        router, and larger when most tokens go to experts with a large p: then other experts learn nothing.
        """
        loss = super().loss(tokens, targets, weights, **inputs)
        if not self.training or not self.config.balance:
            return loss
        layers = self.of_kind(Experts).values()
        p = F.concat([layer.p for layer in layers], axis=0)
        balance = F.apply(ops.balance_loss, p, np.concatenate([layer.chosen for layer in layers]))
        return loss + balance * self.config.balance
