"""Fine-tune on pairs of prompt and answer (SFT); only the answers count in the loss, without tool results."""

import dataclasses
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np

from tinyllm.config import setting
from tinyllm.data import rows, two_texts
from tinyllm.decode.generate import generate
from tinyllm.decode.sampling import Sampling
from tinyllm.errors import UserError
from tinyllm.runs.examples import hold_out, plan_of, read_records, row_size
from tinyllm.runs.opened import Opened
from tinyllm.runs.plan import Plan
from tinyllm.runs.recipe import Frame, Parts, recipe
from tinyllm.train.evaluate import count_characters
from tinyllm.train.objectives import next_token

SHORT = "answers are short next to padding and prompts: try sft.packed"


@dataclass(frozen=True)
class SFTConfig:
    """The settings of a pair's layout in a text: prompt, separator, answer, end."""

    separator: str = setting("\n", help="text between a prompt and its answer")
    end: str = setting("\n", help="text that ends an answer, and is learnt with it")
    packed: bool = setting(False, help="put several pairs into a row, so that less is padding")


def texts(config: Any, corpus: Any) -> bytes:
    """Return all prompts and answers as bytes, in the layout that the tokenizer will see."""
    between, end = config.options.separator, config.options.end
    pairs = read_records(corpus, "prompt", "answer")
    return "".join(pair["prompt"] + between + pair["answer"] + end for pair in pairs).encode()


def encode_pairs(parts: Parts, marks: list[int]) -> list[tuple]:
    """Return [(ids of the prompt, ids of the answer, picture or None, told)]; prompts begin with `marks`.

    told: [begin, end] of each part of the answer's ids that is a tool's result, with the arrow before it.
    """
    frame, tokenizer, last = parts.frame, parts.tokenizer, parts.model.end_ids
    pairs = parts.corpus.shown if marks else [
        (None, pair["prompt"], pair["answer"]) for pair in read_records(parts.corpus, "prompt", "answer")]
    results = [[place - len(x.text) for begin, end in x.labels.get("results", ())
                for place in (begin - len(" => "), end)] for x in parts.corpus.documents]
    found = []
    for (picture, prompt, answer), places in zip(pairs, results or [[]] * len(pairs), strict=True):
        asked = [*marks, *frame.prompt(tokenizer, prompt), *last]
        pieces = [answer[a:b] for a, b in pairwise((None, *places, None))]  # results are encoded alone
        ids = [frame.answer(tokenizer, text, ended=i == len(pieces)) for i, text in enumerate(pieces, 1)]
        ends = [*accumulate(map(len, ids))]
        told = tuple(zip(ends[:-1:2], ends[1::2], strict=True))
        found.append((asked, [*chain(*ids), *last], picture, told))
    return found


def frame_of(config: Any, inherited: Frame) -> Frame:
    """Return the frame of the settings, or CHAT if that is inherited. Raises UserError for both."""
    own = Frame(config.options.separator, config.options.end)
    if inherited.chat and own != Frame(SFTConfig.separator, SFTConfig.end):
        raise UserError("the start has a chat template, which says what stands around an answer: leave out "
                        "sft.separator and sft.end")
    return inherited if inherited.chat else own


@recipe("sft", "learn to answer, from pairs in a JSONL or TSV file", SFTConfig, text=texts, preset="pairs",
        frame=frame_of, objectives=("causal", "spans"))
def sft(parts: Parts) -> Plan:
    """Return a plan that trains on pairs of prompt and answer; only answers count in the loss.

    An encoder-decoder reads the prompt and writes the answer. A model that sees pictures gets a picture of
    the corpus before each prompt.
    """
    model, tokenizer, packed = parts.model, parts.tokenizer, parts.config.options.packed
    apart, context = model.is_encoder_decoder, model.config.context
    marks = model.picture_marks if parts.corpus.shown else []
    if (apart or marks) and packed:
        raise UserError(f"sft.packed is for texts: a {model.model_type} reads one prompt at a time here")

    if packed and parts.secret:
        raise UserError("private training clips rows, of which each must be one example: give "
                        "sft.packed=false")

    def layout(chosen, packed=False):
        *texts, pictures, told = zip(*chosen, strict=True)
        batch = two_texts(*texts, context) if apart else rows(*texts, context, packed, told)
        return dataclasses.replace(batch, pictures=np.stack(pictures)) if marks else batch

    def describe(model):
        prompt, answer, picture, _ = halves[1][0]
        given = {"cache": model.read(picture[None]), "sampling": Sampling(temperature=0),
                 "tokenizer": tokenizer, "stop": Opened(model, tokenizer, parts.frame).stops}
        ids = generate(model, [prompt], max_tokens=len(answer), **given)[0]
        return tokenizer.decode(prompt[len(marks) :] + ids)

    halves = hold_out(encode_pairs(parts, marks), parts)
    return plan_of(
        parts, halves, layout, next_token,
        size=lambda pair: max(map(len, pair[:2])) if apart else row_size(pair),
        learn=lambda chosen, step: layout(chosen, packed),
        characters=count_characters(tokenizer),
        healthy={"answer_share": (0.02, 1.0, SHORT)},
        report=lambda batch: {"answer_share": float(np.mean(batch.targets >= 0))},
        sample=describe if marks else None,
    )
