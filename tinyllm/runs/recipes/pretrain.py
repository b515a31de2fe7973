"""Pretrain on random windows of a text: predict the next token, hidden tokens, or hidden spans."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinyllm.config import check, setting
from tinyllm.data import Batch, eval_batches, get_batch, rows, token_array
from tinyllm.data.corruption import diffused, masked, span_corruption
from tinyllm.data.middle import documents, middles
from tinyllm.decode.engine import generate
from tinyllm.decode.fill import fill, write
from tinyllm.decode.sampling import Sampling
from tinyllm.errors import UserError
from tinyllm.ops.loss import IGNORED
from tinyllm.rng import Random
from tinyllm.runs.recipe import Parts, Plan, recipe
from tinyllm.tokenizer.middle import add_markers, markers_of
from tinyllm.tokenizer.text import SPAN
from tinyllm.train.evaluate import count_characters, evaluate
from tinyllm.train.objectives import diffusion, masked_token, next_token


@dataclass(frozen=True)
class PretrainConfig:
    """The settings of pretraining. Each kind of model ignores the settings that it does not need."""

    hidden: float = setting(0.15, help="masked models and spans: the share to guess", above=0, below=1)
    span: float = setting(3.0, help="spans: how many tokens are hidden together, on average", min=1)
    whole_words: bool = setting(False, help="masked models: hide all tokens of a word together")
    diffusion: bool = setting(False, help="masked models: hide any share of a text, to write whole texts")
    middle: float = setting(0.0, help="decoders: the share of windows to fill in the middle", min=0, max=1)
    suffix_first: float = setting(0.5, help="of these, the share with the suffix first", min=0, max=1)
    lines: float = setting(0.0, help="of these, the share with whole lines in the middle", min=0, max=1)
    documents: bool = setting(False, help="decoders: a whole document in each row, not a random window")

    def __post_init__(self):
        check(self, "pretrain.")


@dataclass(frozen=True)
class Windows:
    """A pretraining objective: the length of windows, a function that makes batches, and the loss.

    `batch(x, y, *key)` makes a batch from tokens x (B, length) and their next tokens y; `key` selects the
    random numbers. Validation uses this batch, and training uses `learn(batch, *key)`.
    """

    length: int
    batch: Callable[..., Batch]
    loss: Callable[[Any, Batch], Any]
    characters: np.ndarray | None = None  # of each token, to compute the loss per character
    sample: Callable[[Any, list[int]], str] | None = None  # None: samples continue a text
    learn: Callable[..., Batch] = lambda batch, *key: batch


def causal(config: Any, tokenizer: Any, model: Any, separator: str) -> Windows:
    """Return the objective of a decoder: predict the next token, or fill in the middle in some windows.

    Validation always reads the text from left to right, so that losses of runs can be compared.
    """
    options = config.options
    markers = markers_of(tokenizer) if options.middle else ()

    def learn(batch, *key):
        if not options.middle:
            return batch
        return middles(batch, tokenizer, markers, *key, rate=options.middle, room=whole, separator=separator,
                       suffix_first=options.suffix_first, lines=options.lines)  # fmt: skip

    characters = count_characters(tokenizer)
    whole = model.config.context
    return Windows(whole, lambda x, y, *key: Batch(x, y), next_token, characters, learn=learn)


def hidden(config: Any, tokenizer: Any, model: Any, separator: str) -> Windows:
    """Return the objective of an encoder: guess hidden tokens of windows between [CLS] and [SEP]."""
    begin, end, mask = (
        tokenizer.special_tokens[model.special_tokens[role]] for role in ("begin", "end", "mask")
    )
    options, size = config.options, model.config.vocab_size
    begins = begin_words(tokenizer) if options.whole_words else None

    def batch(x, y, *key):
        if options.diffusion:
            found: Batch = diffused(x, mask, *key)
        else:
            found = masked(x, mask, size, *key, rate=options.hidden, begins=begins)
        return framed(found, begin, end)

    def sample(model, tokens):
        if options.diffusion:
            return write(model, tokenizer, tokenizer.decode(tokens[:9]), len(tokens))[0][0]
        every = [mask if i % 7 == 3 else token for i, token in enumerate(tokens)]
        return fill(model, tokenizer, every)[0]

    loss: Callable[[Any, Any], Any] = diffusion if options.diffusion else masked_token
    return Windows(model.config.context - 2, batch, loss, sample=sample)


def framed(batch: Batch, begin: int, end: int) -> Batch:
    """Put a token before and a token after each row of a batch. Neither counts in the loss."""

    def pad(x, first, last):
        return x if x is None else np.pad(x, ((0, 0), (1, 1)), constant_values=((0, 0), (first, last)))

    tokens, targets = pad(batch.tokens, begin, end), pad(batch.targets, IGNORED, IGNORED)
    return replace(batch, tokens=tokens, targets=targets, weights=pad(batch.weights, 0, 0))


def spans(config: Any, tokenizer: Any, model: Any, separator: str) -> Windows:
    """Return the objective of an encoder-decoder: read a text with gaps, and write the missing spans."""
    ids, options, context = tokenizer.special_tokens, config.options, model.config.context
    sentinels = [ids[name] for i in range(len(ids)) if (name := f"{SPAN}{i}>") in ids]
    end = [] if model.config.end is None else [model.config.end]

    def batch(x, y, *key):
        return span_corruption(x, sentinels, *key, end=end, rate=options.hidden, mean=options.span)

    def sample(model, tokens):
        shown = batch(np.array([tokens]), None, "sample").tokens[0].tolist()
        answer = generate(model, [shown], max_tokens=context, sampling=Sampling(temperature=0))[0]
        return f"{tokenizer.decode(shown)}\n\n{tokenizer.decode(answer)}"

    try:
        example = batch(np.zeros((1, length := max(2, context - len(end))), int), None, 0)
    except ValueError as error:
        raise UserError(f"{error}: take a larger pretrain.span, or a smaller model.context") from error
    if (written := example.targets.shape[1]) > context:
        raise UserError(f"{written} tokens to write exceed the context of {context}: hide less of the text")
    return Windows(length, batch, next_token, sample=sample)


OBJECTIVES = {"causal": causal, "masked": hidden, "spans": spans}


def begin_words(tokenizer: Any) -> np.ndarray:
    """Return a mask (V,) of the vocabulary that is True for tokens that begin a word.

    In a vocabulary with tokens such as ##ing, these are the tokens without ##. In other vocabularies they are
    the tokens that do not begin with a letter or a digit, because a space belongs to the word after it.
    """
    texts = [tokenizer.decode([i]) for i in range(tokenizer.vocab_size)]
    if any(text.startswith("##") for text in texts):
        return np.array([not text.startswith("##") for text in texts])
    return np.array([not text[:1].isalnum() for text in texts])


def of_documents(config: Any, corpus: Any, tokenizer: Any, context: int, windows: Windows) -> Plan:
    """Return a plan that trains on whole documents, one in each row of a batch.

    A random window, in contrast, may begin inside a document, and then the model does not see the document's
    beginning. A document that is longer than the context is cut off at its end.
    """
    train, separator = config.train, corpus.separator.decode()
    if not (separator and corpus.text()):  # which raises UserError for tokens
        raise UserError(f"pretrain.documents: nothing says where the documents of {corpus.name} end")
    learnt, held_out = (
        [ids for text in documents(part.decode(), separator) if len(ids := tokenizer.encode(text)) > 1]
        for part in corpus.split(train.val_fraction)
    )
    if not (learnt and held_out):
        raise UserError(f"{corpus.name} has too few documents to hold out {train.val_fraction:g} of them")

    def layout(chosen):
        return rows([ids[:1] for ids in chosen], [ids[1:] for ids in chosen], context)

    def batches(step):
        which = Random(config.seed, "batch", step).integers(len(learnt), train.batch)
        return windows.learn(layout([learnt[i] for i in which]), config.seed, step)

    def measure(model):
        chosen, size = held_out[: train.eval_windows], train.batch // train.accumulate
        same = (layout(chosen[i : i + size]) for i in range(0, len(chosen), size))
        return evaluate(model, same, windows.loss, windows.characters)

    learnt_tokens, held_tokens = (sum(map(len, part)) for part in (learnt, held_out))
    return Plan(batches, windows.loss, measure, learnt_tokens, held_tokens, held_out[0][:1])


def prepare_tokenizer(tokenizer: Any, options: PretrainConfig, objective: str) -> None:
    """Add special tokens to a new tokenizer if the settings ask for filling in the middle."""
    if options.middle and objective == "causal":
        add_markers(tokenizer)


@recipe("pretrain", "predict the next token of a text, or what is hidden", PretrainConfig,
        objectives=tuple(OBJECTIVES), prepare_tokenizer=prepare_tokenizer)  # fmt: skip
def pretrain(parts: Parts) -> Plan:
    """Return a plan that trains on windows of the first part of a corpus and validates on the rest."""
    config, corpus, tokenizer, model = parts.config, parts.corpus, parts.tokenizer, parts.model
    if corpus.shown and model.picture_marks:
        raise UserError(f"pretrain sees no pictures, and {corpus.name} has some: use `tinyllm train sft`")
    train, windows = config.train, OBJECTIVES[model.objective](
        config, tokenizer, model, corpus.separator.decode()
    )
    if config.options.documents and model.objective == "causal":
        return of_documents(config, corpus, tokenizer, model.config.context, windows)
    halves = []
    for name, text in zip(("training", "validation"), corpus.split(train.val_fraction), strict=True):
        halves.append(tokens := token_array(text, tokenizer))
        if len(tokens) < windows.length + 1:
            raise UserError(
                f"the {name} part of {corpus.name} has {len(tokens)} tokens, and a context of "
                f"{model.config.context} needs at least {windows.length + 1}: take more text, or a smaller "
                "--set model.context"
            )
    learnt, held_out = halves

    def batches(step):
        x, y = get_batch(learnt, config.seed, step, train.batch, windows.length)
        return windows.learn(windows.batch(x, y, config.seed, step), config.seed, step)

    def measure(model):
        found = eval_batches(held_out, windows.length, train.batch // train.accumulate, train.eval_windows)
        same = (windows.batch(x, y, "validation", i) for i, (x, y) in enumerate(found))
        return evaluate(model, same, windows.loss, windows.characters)

    try:
        blank = tokenizer.encode("\n\n")  # where stories and speeches begin
    except UserError:
        blank = []
    plan = Plan(batches, windows.loss, measure, len(learnt), len(held_out), blank or [int(learnt[0])])
    if windows.sample:
        beginning = held_out[: windows.length].tolist()
        plan.sample = lambda model: windows.sample(model, beginning)
        plan.healthy = {"val_accuracy": (0.0, 1.0, "")}
    return plan
