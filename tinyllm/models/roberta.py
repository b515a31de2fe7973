"""Define RoBERTa: BERT that counts positions from the padding token's id + 1. Liu et al., 2019."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinyllm.config import setting
from tinyllm.models.bert import NAMES, Bert, BertConfig, read_task, write_task


@dataclass(frozen=True, kw_only=True)
class RobertaConfig(BertConfig):
    """The sizes of a RoBERTa, and the id of the padding token. Raises UserError if they are inconsistent."""

    segments: int = setting(1, min=1, max=2**24, hf="type_vocab_size", help="how many kinds of segments")
    pad: int = setting(1, min=0, max=2**24, hf="pad_token_id", help="the id of the padding token")

    @property
    def first_position(self) -> int:  # type: ignore[override]
        """Return the first position's index in the table of positions: one more than the index of padding."""
        return self.pad + 1


def names(config: RobertaConfig) -> tuple[tuple[str, str], ...]:
    """Return pairs (name in files, name in the model), with RoBERTa's prefix and output layers."""
    body = [pair for pair in NAMES if not pair[0].startswith(("cls.", "bert.pooler."))]
    pooler = "classifier.dense." if config.task == "classify" else "roberta.pooler.dense."
    return (
        *((file.replace("bert.", "roberta."), name) for file, name in body), (pooler, "pooler."),
        ("classifier.out_proj.", "classifier."), ("lm_head.layer_norm.", "lm_head.norm."),
    )


def write_positions(found: dict[str, Any], config: Any) -> dict[str, Any]:
    """Return a config.json; the context in RoBERTa's files counts unused entries of the position table."""
    rows = config.context + config.first_position
    return write_task(found, config) | {"max_position_embeddings": rows}


def read_positions(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config.json whose context does not count the unused entries of the position table."""
    found = read_task("Roberta", {"pad_token_id": 1} | config)
    rows, pad = (found.get(name) for name in ("max_position_embeddings", "pad_token_id"))
    if isinstance(rows, int) and isinstance(pad, int):
        found["max_position_embeddings"] = rows - pad - 1
    return found


class Roberta(Bert):
    """A RoBERTa model: tokens (B, T) -> logits (B, T, V) of the tokens at masked positions."""

    model_type = "roberta"
    config_class = RobertaConfig
    layout = Bert.layout.extended(
        base="roberta.",
        ignored=r"roberta\.embeddings\.position_ids|pooler\..*",
        names=names,
        read=read_positions,
        write=write_positions,
    )
    special_tokens: ClassVar[dict[str, str]] = {
        "pad": "<pad>", "begin": "<s>", "end": "</s>", "mask": "<mask>",
    }
    token_settings: ClassVar[dict[str, str]] = {"pad": "pad"}
    separators = 2

    def positions(self, tokens: np.ndarray, places: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Return the index of each token in the table of positions; all padding tokens have one index."""
        pad, real = self.config.pad, tokens != self.config.pad
        count = np.pad(np.cumsum(real, axis=1), ((0, 0), (1, 0)))  # real tokens before each place
        before = np.take_along_axis(count, np.broadcast_to(starts, tokens.shape), axis=1)
        return np.where(real, count[:, 1:] - before, 0) + pad
