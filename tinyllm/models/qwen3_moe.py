"""Define Qwen3-MoE: Qwen3 with a mixture of experts. Yang et al., "Qwen3 Technical Report", 2025."""

from dataclasses import dataclass

from tinyllm.config import setting
from tinyllm.models.llama import Llama
from tinyllm.models.mixtral import Mixtral, MixtralConfig
from tinyllm.models.sizes import SIZE


@dataclass(frozen=True)
class Qwen3MoeConfig(MixtralConfig):
    """The sizes of a Qwen3-MoE: all sizes of Qwen3, and its experts. Raises UserError if inconsistent."""

    qk_norm = True

    hidden: int = setting(**SIZE, hf="moe_intermediate_size", help="the inner width of an expert")
    normalise: bool = setting(  # type: ignore[assignment]
        False, hf="norm_topk_prob", help="the weights of a token's experts have the sum 1"
    )


class Qwen3Moe(Mixtral):
    """A Qwen3-MoE model: tokens (B, T) -> logits (B, T, V)."""

    model_type = "qwen3_moe"
    architecture = "Qwen3MoeForCausalLM"
    config_class = Qwen3MoeConfig
    layout = Llama.layout.extended(
        defaults={"num_key_value_heads": 4, "num_experts_per_tok": 8, "num_experts": 128},
        fixed={
            "mlp_bias": (False,), "use_sliding_window": (False,), "sliding_window": (None,),
            "decoder_sparse_step": (1,), "mlp_only_layers": ([], None),
        },
        read=lambda config: config | {"sliding_window": None},  # unused: use_sliding_window is false
    )
