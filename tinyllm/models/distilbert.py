"""DistilBERT: BERT without segments, half as deep, that learnt from a BERT's outputs. Sanh et al., 2019."""

from dataclasses import dataclass
from typing import Any, ClassVar

import tinyllm.functional as F
from tinyllm.config import setting
from tinyllm.models.bert import PART, SIZE, Bert, BertConfig


@dataclass(frozen=True)
class DistilBertConfig(BertConfig):
    """The sizes of a DistilBERT: those of BERT under other names. Raises UserError."""

    hf_class = "DistilBert"
    pools = ("classify",)

    layers: int = setting(**SIZE, hf="n_layers", help="how many blocks follow each other")
    heads: int = setting(**SIZE, hf="n_heads", help="H: heads of attention")
    width: int = setting(**SIZE, hf="dim", help="C: how many numbers describe a position")
    hidden: int = setting(**SIZE, hf="hidden_dim", help="the inner width of the MLP")
    segments: int = setting(0, min=0, max=0, help="a DistilBERT knows no segments")
    dropout: float = setting(0.0, **PART, hf="dropout", help="the part of numbers set to zero")
    attention_dropout: float = setting(0.0, **PART, hf="attention_dropout", help="of its weights; slower")
    class_dropout: float | None = setting(
        None, **PART, hf="seq_classif_dropout", help="before the classes; none: dropout"
    )
    eps: float = setting(1e-12, min=1e-12, max=1e-12, help="added to variances")


class DistilBert(Bert):
    """DistilBERT: tokens (B, T) -> logits (B, T, V) of the tokens at masked positions."""

    model_type = "distilbert"
    config_class = DistilBertConfig
    hf_base = "distilbert."
    hf_settings: ClassVar[dict[str, Any]] = {
        "activation": ("gelu",), "sinusoidal_pos_embds": (False,), "tie_word_embeddings": (True,),
    } | {name: Bert.hf_settings[name] for name in ("problem_type", "architectures", "id2label", "label2id")}
    hf_names = (
        ("distilbert.embeddings.word_embeddings.", "encoder.tokens."),
        ("distilbert.embeddings.position_embeddings.", "encoder.positions."),
        ("distilbert.embeddings.LayerNorm.", "encoder.norm."),
        ("distilbert.transformer.layer.", "encoder.layers."),
        ("attention.q_lin.", "attn.q_proj."), ("attention.k_lin.", "attn.k_proj."),
        ("attention.v_lin.", "attn.v_proj."), ("attention.out_lin.", "attn.o_proj."),
        ("sa_layer_norm.", "attn_norm."), ("output_layer_norm.", "mlp_norm."),
        ("ffn.lin1.", "mlp.dense_h_to_4h."), ("ffn.lin2.", "mlp.dense_4h_to_h."),
        ("vocab_transform.", "lm_head.dense."), ("vocab_layer_norm.", "lm_head.norm."),
        ("vocab_projector.bias", "lm_head.bias"), ("vocab_projector.weight", "lm_head.decoder.weight"),
        ("pre_classifier.", "pooler."),
    )  # fmt: skip
    pool = staticmethod(F.relu)

    @classmethod
    def hf_read(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Return config.json with DistilBERT's defaults for settings that a file leaves out."""
        usual = {"dropout": 0.1, "attention_dropout": 0.1, "seq_classif_dropout": 0.2}
        return super().hf_read(usual | config)
