"""Define Mixtral: LLaMA with a mixture of experts as its MLP. Jiang et al., "Mixtral of Experts", 2024.

Every token uses 2 of 8 MLPs, so the model has the parameters of a large model at the cost of a small one. The
layer is `nn.Experts`. While training, the loss contains `balance` times `nn.balance_loss`, so that all
experts are used.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import ArrayLike

from tinyllm import nn
from tinyllm.config import setting
from tinyllm.errors import UserError
from tinyllm.models.llama import NO_BIAS, PRESETS, Llama, LlamaBlock
from tinyllm.models.mistral import MistralConfig
from tinyllm.models.sizes import SIZE
from tinyllm.tensor import Tensor

EXPERTS = ("num_experts", "num_local_experts")  # transformers writes either


@dataclass(frozen=True)
class MixtralConfig(MistralConfig):
    """The sizes of a Mixtral: all sizes of Mistral, and its experts. Raises UserError if inconsistent."""

    normalise = True  # not a setting, but a derived family may override it

    experts: int = setting(8, **SIZE, hf=EXPERTS, help="E: how many experts there are")
    top: int = setting(2, **SIZE, hf="num_experts_per_tok", help="how many of them a token uses")
    balance: float = setting(
        0.001, min=0, max=100, hf="router_aux_loss_coef", help="the weight of the load-balancing loss"
    )

    def __post_init__(self):
        super().__post_init__()
        if self.top > self.experts:
            raise UserError(f"a token cannot use top = {self.top} of {self.experts} experts")


class MixtralBlock(LlamaBlock):
    """Run LLaMA's transformer block with experts as the MLP: (B, T, C) -> (B, T, C)."""

    @staticmethod
    def make_mlp(config: MixtralConfig) -> nn.Experts:
        return nn.Experts(config.width, config.hidden, config.experts, config.top, config.normalise)


class Mixtral(Llama):
    """A Mixtral model: tokens (B, T) -> logits (B, T, V).

    In a preset, the two experts of a token compute as much as the MLP in the LLaMA preset of the same name.
    """

    model_type = "mixtral"
    architecture = "MixtralForCausalLM"
    config_class: ClassVar[type] = MixtralConfig
    block = MixtralBlock
    PRESETS = {
        name: PRESETS[name] | {"hidden": PRESETS[name]["hidden"] // 2}
        for name in ("laptop", "nano", "mini", "small")
    }
    layout = Llama.layout.extended(
        defaults={"num_key_value_heads": 8, "rope_theta": 1000000.0, "rms_norm_eps": 1e-5},
        fixed=NO_BIAS | {"router_jitter_noise": (0.0,)},
        names=(("block_sparse_moe.", "mlp."), (".w1.", ".gate_proj."), (".w2.", ".down_proj."),
               (".w3.", ".up_proj.")),
    )

    def loss(self, tokens: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None,
             **inputs: Any) -> Tensor:
        """Return `LanguageModel.loss`, in training mode plus the load-balancing loss of the experts."""
        loss = super().loss(tokens, targets, weights, **inputs)
        if not self.training or not self.config.balance:
            return loss
        return loss + nn.balance_loss([*self.of_kind(nn.Experts).values()]) * self.config.balance
