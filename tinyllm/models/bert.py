"""Define BERT, an encoder in which each position sees the tokens on both sides; complete in this file.

Devlin, Chang, Lee and Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", 2019. Differences from GPT-2: no causal mask; norms after each sum instead of before each
part; a vector for the segment of each token; and an output layer that fills in masked tokens, or gives a
text a class. The mean of the output vectors can represent a whole text (Reimers and Gurevych,
"Sentence-BERT", 2019).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import tinyllm.functional as F
from tinyllm import nn, ops
from tinyllm.arrays import ArrayLike
from tinyllm.config import fill_in, setting
from tinyllm.errors import UserError
from tinyllm.files import read_json
from tinyllm.models.layout import Layout
from tinyllm.models.pretrained import Pretrained
from tinyllm.models.sizes import EPS, HIDDEN, PART, WITH_HIDDEN, Sizes
from tinyllm.nn.attention import EVERYTHING, Seen
from tinyllm.nn.language_model import check_tokens
from tinyllm.padding import by_length, padded
from tinyllm.tensor import Tensor

TASKS = {"masked": "BertForMaskedLM", "classify": "BertForSequenceClassification", "encode": "BertModel"}
NAMES = (
    ("bert.embeddings.word_embeddings.", "encoder.tokens."),
    ("bert.embeddings.position_embeddings.", "encoder.positions."),
    ("bert.embeddings.token_type_embeddings.", "encoder.segments."),
    ("bert.embeddings.LayerNorm.", "encoder.norm."),
    ("bert.encoder.layer.", "encoder.layers."),
    ("attention.self.query.", "attn.q_proj."), ("attention.self.key.", "attn.k_proj."),
    ("attention.self.value.", "attn.v_proj."), ("attention.output.dense.", "attn.o_proj."),
    ("attention.output.LayerNorm.", "attn_norm."), ("intermediate.dense.", "mlp.dense_h_to_4h."),
    ("output.dense.", "mlp.dense_4h_to_h."), ("output.LayerNorm.", "mlp_norm."),
    ("cls.predictions.transform.dense.", "lm_head.dense."),
    ("cls.predictions.transform.LayerNorm.", "lm_head.norm."),
    ("cls.predictions.decoder.", "lm_head.decoder."), ("cls.predictions.bias", "lm_head.bias"),
    ("bert.pooler.dense.", "pooler."),
)


@dataclass(frozen=True, kw_only=True)
class BertConfig(Sizes):
    """The sizes of a BERT, its task and its classes. Raises UserError if they are inconsistent."""

    hidden: int = setting(**HIDDEN, hf="intermediate_size")
    segments: int = setting(2, min=1, max=2**24, hf="type_vocab_size", help="how many kinds of segments")
    task: str = setting("masked", hf="architectures", choices=tuple(TASKS), help="which output layer it has")
    labels: list | None = setting(None, hf="id2label", help="classify: the names of the classes")
    dropout: float = setting(0.0, **PART, hf="hidden_dropout_prob", help="the part of numbers set to zero")
    eps: float = setting(1e-12, **EPS, hf="layer_norm_eps")

    def __post_init__(self):
        super().__post_init__()
        if self.task == "classify":
            fill_in(self, labels=["LABEL_0", "LABEL_1"])  # as in transformers
        if self.labels is not None and not (self.labels and all(isinstance(x, str) for x in self.labels)):
            raise UserError(f"labels must be a list of names, got {self.labels!r}")


class BertBlock(nn.Module):
    """Run one transformer block: x = norm(x + attention(x)), then norm(x + mlp(x)), all (B, T, C)."""

    def __init__(self, config: BertConfig):
        width = config.width
        self.attn = nn.GroupedAttention(width, config.heads, bias=True, out_bias=True, causal=False)
        self.attn_norm = nn.LayerNorm(width, eps=config.eps)
        self.mlp = nn.GeluMLP(width, config.hidden)
        self.mlp_norm = nn.LayerNorm(width, eps=config.eps)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, seen: Seen) -> Tensor:
        x = self.attn_norm(x + self.drop(self.attn(x, None, None, seen)))
        return self.mlp_norm(x + self.drop(self.mlp(x)))


class BertEncoder(nn.Module):
    """Add the vectors of tokens, positions and segments, and run the blocks: ints (B, T) -> (B, T, C)."""

    def __init__(self, config: BertConfig):
        self.tokens = nn.Embedding(config.vocab_size, config.width)
        self.positions = nn.Embedding(config.context, config.width)
        self.segments = nn.Embedding(config.segments, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.eps)
        self.drop = nn.Dropout(config.dropout)
        self.layers = [BertBlock(config) for _ in range(config.layers)]

    def forward(self, tokens: np.ndarray, positions: np.ndarray, segments: np.ndarray, seen: Seen) -> Tensor:
        x = self.tokens(tokens) + self.positions(positions) + self.segments(segments)
        x = self.drop(self.norm(x))
        for layer in self.layers:
            x = layer(x, seen)
        return x


class MaskedHead(nn.Module):
    """Score all tokens for a masked position by products with the embeddings: (..., C) -> (..., V)."""

    def __init__(self, config: BertConfig, embedding: nn.Parameter):
        self.bias = nn.Parameter(nn.full(config.vocab_size))
        self.dense = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.eps)
        self.decoder = nn.Head(embedding)
        vars(self.decoder)["bias"] = self.bias  # its second name, which some files have

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.norm(F.gelu(self.dense(x)))) + self.bias


def write_task(found: dict[str, Any], config: Any) -> dict[str, Any]:
    """Return a config.json plus the name of transformers' class and two tables of labels."""
    ids = {name: i for i, name in enumerate(config.labels or [])} or None
    names = dict(enumerate(config.labels or [])) or None
    return found | {"architectures": [TASKS[config.task]], "id2label": names, "label2id": ids}


def read_task(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config.json with the task and a list of labels. Raises UserError for an unknown task."""
    tasks = {name: task for task, name in TASKS.items()}
    names = config.get("architectures") or [TASKS["encode"]]
    if not isinstance(names, list) or names[0] not in [*tasks]:  # a list, because names[0] may be unhashable
        raise UserError(f"architectures = {names!r}, and tinyllm runs {', '.join(tasks)}")
    labels = config.get("id2label") if tasks[names[0]] == "classify" else None
    if isinstance(labels, dict):
        labels = [labels.get(str(i)) for i in range(len(labels))]
    return config | {"architectures": tasks[names[0]], "id2label": labels}


def check_pooling(folder: Path) -> None:
    """Raise UserError if a folder of sentence-transformers asks for anything but the mean."""
    steps, pooling = folder / "modules.json", folder / "1_Pooling" / "config.json"
    for step in read_json(steps, [{}], 2**20) if os.path.lexists(steps) else []:
        if (kind := str(step.get("type")).split(".")[-1]) not in ("Transformer", "Pooling", "Normalize"):
            raise UserError(f"{steps} has a step {kind!r:.40}; tinyllm lacks it: use sentence-transformers")
    if os.path.lexists(pooling):
        found = read_json(pooling, {}, 2**20)
        modes = {name: value for name, value in found.items() if name.startswith("pooling_mode") and value}
        if modes not in ({"pooling_mode_mean_tokens": True}, {"pooling_mode": "mean"}):
            raise UserError(f"{pooling}: {modes!r:.200}, and tinyllm has the mean: use sentence-transformers")


class Bert(Pretrained, nn.LanguageModel):
    """A BERT model: tokens (B, T) -> logits (B, T, V) of the tokens at masked positions.

    `config.task` decides the output layer: "masked" has `lm_head`, "classify" `classify`, "encode" none.
    """

    model_type = "bert"
    config_class = BertConfig
    PRESETS = WITH_HIDDEN | {"small": WITH_HIDDEN["small"] | {"context": 512}}  # as BERT-base
    objective = "masked"
    special_tokens: ClassVar[dict[str, str]] = {"pad": "[PAD]", "begin": "[CLS]", "end": "[SEP]",
                                                "mask": "[MASK]"}
    layout = Layout(
        base="bert.",
        transposed=True,
        defaults={"hidden_dropout_prob": 0.1, "type_vocab_size": 2},
        fixed={
            "hidden_act": ("gelu",), "position_embedding_type": ("absolute", None), "is_decoder": (False,),
            "add_cross_attention": (False,), "tie_word_embeddings": (True,),
            "problem_type": (None, "single_label_classification"),
        },
        ignored=r"bert\.embeddings\.position_ids|pooler\..*|cls\.seq_relationship\..*",
        old=(("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")),
        names=NAMES,
        read=read_task,
        write=write_task,
        check=check_pooling,
    )

    def __init__(self, config: BertConfig, seed: int | None = 0):
        self.config, self.architecture = config, TASKS[config.task]  # the name of transformers' class
        self.encoder = BertEncoder(config)
        self.lm_head = MaskedHead(config, self.encoder.tokens.weight) if config.task == "masked" else None
        if config.task == "classify":
            self.pooler = nn.Linear(config.width, config.width)
            self.classifier = nn.Linear(config.width, len(config.labels or []))
        self.drop = nn.Dropout(config.dropout)
        self.finish(seed)

    def hidden(self, tokens: ArrayLike, segments: ArrayLike | None = None, seen: Seen = EVERYTHING) -> Tensor:
        """Run the encoder: tokens (B, T) or (T,), ints -> (B, T, C).

        `segments` (B, T) tells the sentences of a pair apart; the default is 0 everywhere. Raises UserError
        for tokens or segments out of range, or too many tokens.
        """
        tokens, places = check_tokens(tokens, self.config)
        segments = np.zeros(tokens.shape, np.int64) if segments is None else np.atleast_2d(segments)
        kinds = self.config.segments
        if segments.shape != tokens.shape or segments.min() < 0 or segments.max() >= kinds:
            raise UserError(f"segments must have the shape {tokens.shape} and be below {kinds}")
        return self.encoder(tokens, places, segments, seen)

    def classify(self, tokens: ArrayLike, segments: ArrayLike | None = None,
                 seen: Seen = EVERYTHING) -> Tensor:
        """Score every class of a text from its first position: tokens (B, T) -> logits (B, labels).

        The other arguments go to `hidden`. Raises UserError when the task is not "classify".
        """
        if self.config.task != "classify":
            raise UserError(f"a {self.architecture} has no classes: use model.for_task('classify', labels)")
        summary = self.pooler(self.hidden(tokens, segments, seen)[:, 0]).tanh()
        return self.classifier(self.drop(summary))

    def for_task(self, task: str, labels: list[str] | None = None, seed: int = 0) -> "Bert":
        """Return a model for another task: this encoder, with an output layer that is drawn with `seed`."""
        model = type(self)(replace(self.config, task=task, labels=labels), seed)
        known = self.state_dict()
        model.load_state_dict({name: known.get(name, new) for name, new in model.state_dict().items()})
        model.train(self.training)
        model.generation, model.token_ids = self.generation, self.token_ids
        return model

    def framed(self, ids: dict[str, int], first: Sequence[int],
               second: Sequence[int] | None = None) -> tuple[list[int], list[int]]:
        """Add the special tokens: [CLS] first [SEP], or [CLS] first [SEP] second [SEP] -> (ids, segments).

        segments has 0 for tokens of the first text, 1 for the second. `ids` maps the names of special tokens
        to ids. The longer text is cut until both fit into the context.
        """
        begin, end = (ids[self.special_tokens[role]] for role in ("begin", "end"))
        texts = [list(text) for text in (first, second) if text is not None]
        while sum(map(len, texts)) > self.config.context - 1 - len(texts):
            max(texts, key=len).pop()
        texts = [[*text, end] for text in texts]
        other = int(self.config.segments > 1)
        segments = [other * i for i, text in enumerate(texts) for _ in text]
        return [begin, *(token for text in texts for token in text)], [0, *segments]

    def sentence_vectors(self, tokens: ArrayLike, lengths: ArrayLike) -> Tensor:
        """Return the mean vector of each text, scaled to length 1: tokens (B, T), lengths (B,) -> (B, C)."""
        lengths = np.asarray(lengths)
        mean = F.apply(ops.mean_pool, self.hidden(tokens, seen=Seen(lengths=lengths)), lengths)
        return mean / (mean * mean).sum(axis=-1, keepdims=True).sqrt()

    def embed_sentences(self, texts: Sequence[Sequence[int]], room: int = 2048) -> np.ndarray:
        """Return a vector of length 1 for each text, as `sentence_vectors`: N lists of ids -> (N, C).

        The dot product of two vectors is their similarity. A pass reads texts of similar lengths, about
        `room` tokens. Raises UserError when a text is empty or too long.
        """
        if not all(map(len, texts)):
            raise UserError(f"text {[*map(len, texts)].index(0)} has no tokens: leave it out")
        found = np.empty((len(texts), self.config.width), np.float32)
        with nn.inference(self):
            for rows in by_length(texts, room):
                found[rows] = self.sentence_vectors(*padded([texts[row] for row in rows])).data
        return found
