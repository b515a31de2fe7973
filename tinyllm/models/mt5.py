"""Define mT5: version 1.1 of T5, trained on many languages. Xue et al., "mT5", 2021."""

from dataclasses import dataclass

from tinyllm.config import setting
from tinyllm.models.t5 import MLPS, T5, T5Config


@dataclass(frozen=True)
class MT5Config(T5Config):
    """The sizes of an mT5, the same as T5's. Raises UserError if they are inconsistent."""

    mlp: str = setting("gated-gelu", hf="feed_forward_proj", choices=MLPS, help="relu or gated-gelu")
    tied: bool = setting(False, hf="tie_word_embeddings", help="the embedding is also the output layer")
    scaled: bool = setting(False, hf="scale_decoder_outputs", help="multiply the output by 1 / sqrt(C)")


class MT5(T5):
    """An mT5 model: tokens (B, S), decoder_tokens (B, T) -> logits (B, T, V)."""

    model_type = "mt5"
    architecture = "MT5ForConditionalGeneration"
    config_class = MT5Config
    layout = T5.layout.extended(read=lambda config: config | {"scale_decoder_outputs": False})
