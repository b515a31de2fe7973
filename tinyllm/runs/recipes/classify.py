"""Train a model to classify texts, or pairs of texts, into a few classes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyllm.data import Batch
from tinyllm.errors import UserError
from tinyllm.files import parse_json
from tinyllm.nn.encoder import padded
from tinyllm.rng import Random
from tinyllm.runs.recipe import Parts, Plan, hold_out, recipe
from tinyllm.train.evaluate import evaluate
from tinyllm.train.objectives import text_class

MOST = 1000  # classes; with more, the labels are probably free text
Example = tuple[str, str | None, str]  # text, second text, class


@dataclass(frozen=True)
class TextBatch(Batch):
    """A batch of texts (B, T) with segments (B, T) and lengths (B,); targets (B, 1) are class numbers."""

    segments: np.ndarray | None = None
    lengths: np.ndarray | None = None


def read_examples(corpus: Any) -> list[Example]:
    """Return [(text, second text or None, class)] from a JSONL or TSV file, or generated questions.

    A line of JSONL is {"text": ..., "label": ...}, and may have "second", the other text of a pair. A line of
    TSV has the cells text, second (may be missing) and label. Raises UserError, naming the line.
    """
    if corpus.pairs:
        return [(text, None, label.strip()) for text, label in corpus.pairs]
    found: list[Example] = []
    for number, line in enumerate(corpus.text().split("\n"), 1):
        if not line.strip():
            continue
        try:
            if line.startswith("{"):
                record = parse_json(line)
                cells = [record["text"], *filter(None, [record.get("second")]), record["label"]]
            else:
                cells = line.rstrip("\r").split("\t")
            text, *second, label = cells
            if len(second) > 1 or not all(isinstance(x, str) and x.strip() and x.encode() for x in cells):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f'{corpus.name} line {number} is no example: write {{"text": ..., "label": ...}}, or the two '
                "with a tab between them"
            ) from None
        found.append((text, second[0] if second else None, label.strip()))
    return found


def adapt(model: Any, corpus: Any) -> Any:
    """Give a model an output layer for the corpus's classes. Raises UserError unless there are 2 to MOST."""
    labels = sorted({label for *_, label in read_examples(corpus)})
    if not 2 <= len(labels) <= MOST:
        raise UserError(f"{corpus.name} has {len(labels)} classes: give examples of 2 to {MOST}")
    known = model.config.labels if model.config.task == "classify" else None
    return model if known == labels else model.for_task("classify", labels)


def texts(config: Any, corpus: Any) -> bytes:
    """Join all texts of a corpus as bytes from which a new tokenizer learns."""
    return "\n".join(f"{first}\n{second or ''}" for first, second, _ in read_examples(corpus)).encode()


@recipe("classify", "learn the classes of texts, from a JSONL or TSV file", text=texts,
        objectives=("masked",), adapt=adapt)  # fmt: skip
def classify(parts: Parts) -> Plan:
    """Return a plan that trains on the first examples of a corpus and validates on the last ones."""
    config, corpus, tokenizer, model = parts.config, parts.corpus, parts.tokenizer, parts.model
    train, labels = config.train, model.config.labels
    examples, cut = [], 0
    for first, second, label in read_examples(corpus):
        ids, other = tokenizer.encode(first), None if second is None else tokenizer.encode(second)
        framed = model.framed(tokenizer.special_tokens, ids, other)
        examples.append((*framed, labels.index(label)))
        cut += len(framed[0]) == model.config.context and len(ids) + len(other or []) > len(framed[0]) - 2
    learnt, held_out = hold_out(corpus, examples, train.val_fraction, "examples")

    def batch(chosen):
        ids, segments, classes = zip(*chosen, strict=True)
        tokens, lengths = padded(ids)
        return TextBatch(tokens, np.array(classes)[:, None], segments=padded(segments)[0], lengths=lengths)

    def batches(step):
        which = Random(config.seed, "batch", step).integers(len(learnt), train.batch)
        return batch([learnt[i] for i in which])

    def loss(model, batch):
        value, numbers = text_class(model, batch)
        return value, numbers | {"truncated": cut / len(examples)}

    def measure(model):
        chosen, size = held_out[: train.eval_windows], train.batch // train.accumulate
        return evaluate(model, (batch(chosen[i : i + size]) for i in range(0, len(chosen), size)), text_class)

    def sample(model):
        (ids, segments, true) = held_out[0]
        logits = model.classify(np.array(ids), np.array(segments)).data
        return f"{tokenizer.decode(ids)}\n{labels[int(logits.argmax())]} (the data say {labels[true]})"

    seen, unseen = (sum(len(ids) for ids, *_ in part) for part in (learnt, held_out))
    advice = "take a larger model.context, or shorter texts"
    healthy = {"val_accuracy": (0.0, 1.0, ""), "truncated": (0.0, 0.05, advice)}
    return Plan(batches, loss, measure, seen, unseen, held_out[0][0], healthy, sample)
