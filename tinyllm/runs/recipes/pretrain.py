"""Pretrain a decoder: predict the next token of a text, or fill gaps in it."""

from dataclasses import dataclass
from typing import Any

from tinyllm.config import setting
from tinyllm.data import Batch, rows
from tinyllm.data.middle import documents, middles
from tinyllm.errors import UserError
from tinyllm.runs.examples import plan_of
from tinyllm.runs.plan import Plan, plan_of_windows
from tinyllm.runs.recipe import Parts, recipe
from tinyllm.tokenizer.text import add_markers, markers_of
from tinyllm.train.evaluate import count_characters
from tinyllm.train.objectives import next_token


@dataclass(frozen=True)
class PretrainConfig:
    """The settings of pretraining."""

    middle: float = setting(0.0, help="the share of windows to fill in the middle", min=0, max=1)
    lines: float = setting(0.0, help="of these, the share with whole lines in the middle", min=0, max=1)
    documents: bool = setting(False, help="a whole document in each row, not a random window")


def prepare_tokenizer(tokenizer: Any, options: PretrainConfig) -> None:
    """Add special tokens to a new tokenizer if the settings ask for filling in the middle."""
    if options.middle:
        add_markers(tokenizer)


@recipe("pretrain", "predict the next token of a text", PretrainConfig,
        prepare_tokenizer=prepare_tokenizer)
def pretrain(parts: Parts) -> Plan:
    """Return a plan that trains on windows of a text, or on its documents.

    Validation always reads the text from left to right, so that losses of runs can be compared.
    """
    corpus, tokenizer, options = parts.corpus, parts.tokenizer, parts.config.options
    if parts.model.picture_marks and corpus.shown:
        raise UserError(f"pretrain sees no pictures, and {corpus.name} has some: use `tinyllm train sft`")
    context, characters = parts.model.config.context, count_characters(tokenizer)
    markers = markers_of(tokenizer) if options.middle else ()

    def learn(batch, *key):
        if not options.middle:
            return batch
        return middles(batch, tokenizer, markers, *key, rate=options.middle, room=context,
                       separator=corpus.separator.decode(), lines=options.lines)

    if not options.documents:
        return plan_of_windows(parts, context, lambda x, y, *key: Batch(x, y), next_token, learn=learn,
                               characters=characters)

    def layout(chosen):
        return rows(*zip(*chosen, strict=True), context)

    # A document that is longer than the context is cut off at its end. A random window, in contrast, may
    # begin inside a document, and then the model does not see the document's beginning.
    halves = read_documents(parts)
    return plan_of(parts, halves, layout, next_token, characters=characters,
                   learn=lambda chosen, step: learn(layout(chosen), parts.config.seed, step))


def read_documents(parts: Parts) -> tuple[list, list]:
    """Return the documents for training and for validation: [(ids of the first token, ids of the rest)]."""
    corpus, separator = parts.corpus, parts.corpus.separator.decode()
    if not (separator and corpus.text()):  # `text` raises UserError if the corpus holds tokens
        raise UserError(f"pretrain.documents: nothing says where the documents of {corpus.name} end")
    first, last = ([parts.tokenizer.encode(text) for text in documents(half.decode(), separator)]
                   for half in corpus.split(parts.config.train.val_fraction))
    return [(ids[:1], ids[1:]) for ids in first], [(ids[:1], ids[1:]) for ids in last]
