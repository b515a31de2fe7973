"""Fine-tune on pairs of prompt and answer (SFT); only the answers count in the loss."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tinyllm.config import check, setting
from tinyllm.data import rows, two_texts
from tinyllm.decode.engine import generate
from tinyllm.decode.sampling import Sampling
from tinyllm.errors import UserError
from tinyllm.files import parse_json
from tinyllm.rng import Random
from tinyllm.runs.recipe import Frame, Parts, Plan, hold_out, recipe
from tinyllm.train.evaluate import count_characters, evaluate
from tinyllm.train.objectives import next_token

ADVICE = "take a larger model.context, or shorter pairs"


@dataclass(frozen=True)
class SFTConfig:
    """The settings of a pair's layout in a text: prompt, separator, answer, end."""

    separator: str = setting("\n", help="text between a prompt and its answer")
    end: str = setting("\n", help="text that ends an answer, and is learnt with it")
    packed: bool = setting(False, help="put several pairs into a row, so that less is padding")

    def __post_init__(self):
        check(self, "sft.")


def read_pairs(corpus: Any) -> list[tuple[str, str]]:
    r"""Return [(prompt, answer)] from a JSONL file ({"prompt": ..., "answer": ...}) or a TSV file.

    In a TSV file, write \n and \t for a new line and a tab in a cell. Raises UserError, naming the line.
    """
    if corpus.pairs:
        return list(corpus.pairs)
    pairs = []
    for number, line in enumerate(corpus.text().split("\n"), 1):  # JSON texts may hold U+2028
        if not line.strip():
            continue
        try:
            if line.startswith("{"):
                record = parse_json(line)
                pair = record["prompt"], record["answer"]
            else:
                prompt, answer = line.rstrip("\r").split("\t")
                pair = tuple(cell.replace("\\n", "\n").replace("\\t", "\t") for cell in (prompt, answer))
            if not all(isinstance(text, str) and text.encode() for text in pair):  # fails for lone surrogates
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f'{corpus.name} line {number} is no pair: write {{"prompt": ..., "answer": ...}}, or the two '
                "with a tab between them"
            ) from None
        pairs.append(pair)
    return pairs


def texts(config: Any, corpus: Any) -> bytes:
    """Return all prompts and answers as bytes, in the layout that the tokenizer will see."""
    options = config.options
    pairs = (prompt + options.separator + answer + options.end for prompt, answer in read_pairs(corpus))
    return "".join(pairs).encode()


def encode_pairs(config: Any, corpus: Any, tokenizer: Any, model: Any, marks: list[int]) -> list[tuple]:
    """Return [(ids of the prompt, ids of the answer, picture or None)]; each prompt begins with `marks`."""
    options = config.options
    asked = corpus.shown if marks else ((None, *pair) for pair in read_pairs(corpus))
    last = [model.config.end] if model.is_encoder_decoder and model.config.end is not None else []
    return [
        (
            [*marks, *tokenizer.encode(prompt + options.separator), *last],
            [*tokenizer.encode(answer + options.end), *last],
            picture,
        )
        for picture, prompt, answer in asked
    ]


@recipe("sft", "learn to answer, from pairs in a JSONL or TSV file", SFTConfig, text=texts,
        frame=lambda options: Frame(options.separator, options.end),
        objectives=("causal", "spans"))  # fmt: skip
def sft(parts: Parts) -> Plan:
    """Return a plan that trains on pairs of prompt and answer; only answers count in the loss.

    An encoder-decoder reads the prompt and writes the answer. A model that sees pictures gets a picture of
    the corpus before each prompt.
    """
    config, corpus, tokenizer, model = parts.config, parts.corpus, parts.tokenizer, parts.model
    train, options, context = config.train, config.options, model.config.context
    apart = model.is_encoder_decoder
    marks = model.picture_marks if corpus.shown else []
    if (apart or marks) and options.packed:
        raise UserError(f"sft.packed is for texts: a {model.model_type} reads one prompt at a time here")
    pairs = encode_pairs(config, corpus, tokenizer, model, marks)
    halves = hold_out(corpus, pairs, train.val_fraction, "pairs")
    lengths = [max(map(len, pair[:2])) if apart else sum(map(len, pair[:2])) - 1 for pair in pairs]
    cut = sum(length > context for length in lengths) / len(pairs)
    characters = count_characters(tokenizer)

    def layout(chosen, packed=False):
        *texts, pictures = zip(*chosen, strict=True)
        batch = two_texts(*texts, context) if apart else rows(*texts, context, packed=packed)
        return dataclasses.replace(batch, pictures=np.stack(pictures)) if marks else batch

    # Skip pairs without room for any of the answer: they teach nothing, and cannot start a sample.
    learnt, held_out = ([x for x in part if layout([x]).count] for part in halves)
    if not (learnt and held_out):
        raise UserError(f"a context of {context} cuts off every answer of {corpus.name}: {ADVICE}")

    def batches(step):
        which = Random(config.seed, "batch", step).integers(len(learnt), train.batch)
        return layout([learnt[i] for i in which], options.packed)

    def loss(model, batch):
        numbers = {"answer_share": float(np.mean(batch.targets >= 0)), "truncated": cut}
        return next_token(model, batch), numbers

    def measure(model):
        chosen = held_out[: train.eval_windows]
        size = train.batch // train.accumulate
        batches = (layout(chosen[i : i + size]) for i in range(0, len(chosen), size))
        return evaluate(model, batches, next_token, characters)

    tokens = [sum(layout([pair]).count for pair in part) for part in (learnt, held_out)]
    healthy = {"answer_share": (0.02, 1.0, "answers are short next to padding and prompts: try sft.packed"),
               "truncated": (0.0, 0.05, ADVICE)}  # fmt: skip
    sample = partial(describe, tokenizer, held_out[0]) if marks else None
    return Plan(batches, loss, measure, tokens[0], tokens[1], held_out[0][0], healthy, sample)


def describe(tokenizer: Any, example: tuple, model: Any) -> str:
    """Return a sample for the user: the prompt of an example, and the model's likeliest answer."""
    prompt, answer, picture = example
    given = {"cache": model.cache_of(picture), "sampling": Sampling(temperature=0)}
    ids = generate(model, [prompt], max_tokens=len(answer), **given)[0]
    return tokenizer.decode(prompt[len(model.picture_marks) :] + ids)
