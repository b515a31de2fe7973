"""Define DistilBERT: half as deep as BERT, without segments, trained to imitate a BERT (Sanh et al. 2019)."""

from dataclasses import dataclass
from functools import partial

import tinyllm.functional as F
from tinyllm.config import fill_in, setting
from tinyllm.models.bert import PROBLEMS, Bert, BertConfig, read_task, write_task
from tinyllm.models.layout import Layout

NAMES = (
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
)


@dataclass(frozen=True, kw_only=True)
class DistilBertConfig(BertConfig):
    """The sizes of a DistilBERT; config.json has other names for them. Raises UserError if inconsistent."""

    hf = {"layers": "n_layers", "heads": "n_heads", "width": "dim", "hidden": "hidden_dim",
          "dropout": "dropout", "class_dropout": "seq_classif_dropout"}
    pools = ("classify",)

    segments: int = setting(0, min=0, max=0, help="a DistilBERT knows no segments")
    eps: float = setting(1e-12, min=1e-12, max=1e-12, help="added to variances")

    def __post_init__(self):
        super().__post_init__()
        fill_in(self, class_dropout=self.dropout)  # transformers does not know none here


class DistilBert(Bert):
    """A DistilBERT model: tokens (B, T) -> logits (B, T, V) of the tokens at masked positions."""

    model_type = "distilbert"
    config_class = DistilBertConfig
    layout = Layout(
        base="distilbert.",
        transposed=True,
        defaults={"dropout": 0.1, "attention_dropout": 0.1, "seq_classif_dropout": 0.2},
        fixed={
            "activation": ("gelu",), "sinusoidal_pos_embds": (False,), "tie_word_embeddings": (True,),
            "problem_type": PROBLEMS,
        },
        ignored=r"distilbert\.embeddings\.position_ids|pooler\..*",
        names=NAMES,
        read=partial(read_task, "DistilBert"),
        write=write_task,
    )
    pool = staticmethod(F.relu)

