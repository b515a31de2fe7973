"""Train a model to classify texts, or pairs of texts, into a few classes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyllm.data import Batch
from tinyllm.errors import UserError
from tinyllm.padding import padded
from tinyllm.runs.examples import hold_out, plan_of, read_records
from tinyllm.runs.plan import Plan
from tinyllm.runs.recipe import Parts, recipe
from tinyllm.train.objectives import text_class

MOST = 1000  # the most classes; with more, the labels are probably free text
FIELDS = "text", "second?", "label"


@dataclass(frozen=True)
class TextBatch(Batch):
    """A batch of texts (B, T) with segments (B, T) and lengths (B,); targets (B, 1) are class indices."""

    segments: np.ndarray | None = None


def adapt(model: Any, corpus: Any) -> Any:
    """Give a model an output layer for the corpus's classes. Raises UserError unless there are 2 to MOST."""
    labels = sorted({record["label"].strip() for record in read_records(corpus, *FIELDS)})
    if not 2 <= len(labels) <= MOST:
        raise UserError(f"{corpus.name} has {len(labels)} classes: give examples of 2 to {MOST}")
    known = model.config.labels if model.config.task == "classify" else None
    return model if known == labels else model.for_task("classify", labels)


def texts(config: Any, corpus: Any) -> bytes:
    """Join all texts of a corpus as bytes from which a new tokenizer learns."""
    records = read_records(corpus, *FIELDS)
    return "\n".join(f"{record['text']}\n{record.get('second', '')}" for record in records).encode()


@recipe("classify", "learn the classes of texts, from a JSONL or TSV file", text=texts,
        objectives=("masked",), adapt=adapt, unit="nats per text")
def classify(parts: Parts) -> Plan:
    """Return a plan that trains on the first examples of a corpus and validates on the last ones."""
    model, tokenizer, labels = parts.model, parts.tokenizer, parts.model.config.labels
    examples = []  # (ids, segments, class index, number of ids before they were cut)
    for record in read_records(parts.corpus, *FIELDS):
        ids, second = tokenizer.encode(record["text"]), record.get("second")
        other = tokenizer.encode(second) if second else None
        whole = 2 + len(ids) + (1 + len(other) if other else 0)
        framed = model.framed(tokenizer.special_tokens, ids, other)
        examples.append((*framed, labels.index(record["label"].strip()), whole))

    def layout(chosen):
        ids, segments, classes, _ = zip(*chosen, strict=True)
        tokens, lengths = padded(ids)
        return TextBatch(tokens, np.array(classes)[:, None], segments=padded(segments)[0], lengths=lengths)

    def sample(model):
        ids, segments, true, _ = halves[1][0]
        logits = model.classify(np.array(ids), np.array(segments)).data
        return f"{tokenizer.decode(ids)}\n{labels[int(logits.argmax())]} (the data say {labels[true]})"

    halves = hold_out(examples, parts)
    return plan_of(parts, halves, layout, text_class, size=lambda example: example[3], sample=sample,
                   healthy={"val_accuracy": (0.0, 1.0, "")})
