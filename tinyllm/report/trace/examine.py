"""Examine a forward pass over a text: surprisal, attention, logit lens, KV cache, FLOPs."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.decode.generate import stream
from tinyllm.decode.sampling import Sampling
from tinyllm.errors import UserError
from tinyllm.nn import DecoderLM, inference
from tinyllm.ops.attention import masked_scores
from tinyllm.report.trace.capture import observe
from tinyllm.tensor import Tensor
from tinyllm.tokenizer.text import read_prompt

CANDIDATES = 5  # likely tokens kept for each position


@dataclass
class Lens:
    """The logit lens at one layer: what the model would predict if all later layers were left out.

    Source: nostalgebraist, "interpreting GPT: the logit lens", 2020.
    """

    name: str
    ids: np.ndarray  # (T,) the likeliest next token at each position
    p: np.ndarray  # (T,) and its probability
    nats: np.ndarray  # (T - 1,) -log p of the true next tokens


@dataclass
class Trace:
    """The results of one forward pass over a text of T tokens (L layers, H heads, a vocabulary of V)."""

    model: Any
    ids: list  # T
    prompt_length: int  # how many of the ids were given; the model wrote the others
    names: list  # V, the bytes of each token
    surprisal: np.ndarray  # (T - 1,) -log p in nats of each token but the first, which nothing predicts
    candidates: list  # T lists of (id, p): the likeliest tokens to follow each position
    attention: list  # L arrays (H, T, T): row s has the attention weights of token s
    lens: list  # a Lens for the embedding and for each layer
    ops: list  # a TracedCall for each op that the model called


def take_text(model: Any, tokenizer: Any, prompt: str | bytes, tokens: int = 0) -> tuple[list[int], int]:
    """Let a model continue a prompt by up to `tokens` tokens; return (all ids, number of ids in the prompt).

    Each new token is the likeliest. An empty prompt becomes the token with which texts begin. The text ends
    when the context is full. Raises UserError if the model cannot read the prompt.
    """
    if not isinstance(model, DecoderLM):
        raise UserError(f"a trace shows a decoder, such as a LLaMA; a {type(model).__name__} is none")
    ids = read_prompt(model.config, 0, prompt, tokenizer)
    steps = stream(model, [ids], max_tokens=tokens, sampling=Sampling(temperature=0), overflow="stop")
    written = [step.token for step in steps]
    return (ids + written)[: model.config.context], len(ids)


def examine(model: Any, tokenizer: Any, ids: list[int], prompt_length: int | None = None) -> Trace:
    """Run ids through a model and compute what a trace shows. Raises UserError if logits are not finite."""
    root = observe(model, ids)
    logits = root.steps[-1].outputs[0][0]
    if not np.isfinite(logits).all():
        raise UserError("the model's logits are not finite numbers: its weights are broken")
    log_p = ops.log_softmax(logits)
    best = np.argsort(-log_p, kind="stable")[:, :CANDIDATES]  # of two equal p, the smaller id comes first
    parts = list(root.parts())
    blocks = [part for part in parts if part.is_block]
    norm = dict(model.named_modules())[parts[parts.index(blocks[-1]) + 1].path]  # after the last layer
    attended = [step.inputs for step in root.ops() if step.op == "attention"]  # kernels store no weights
    states = [blocks[0].inputs[0][0], *(block.outputs[0][0] for block in blocks)]  # L + 1 arrays (T, C)
    return Trace(
        model=model, ids=list(ids), prompt_length=len(ids) if prompt_length is None else prompt_length,
        names=[tokenizer.decode_bytes([i]) for i in range(tokenizer.vocab_size)],
        surprisal=-log_p[np.arange(len(ids) - 1), ids[1:]],
        candidates=[list(zip(row, np.exp(log_p[t, row]).tolist(), strict=True))
                    for t, row in enumerate(best.tolist())],
        attention=[ops.softmax(masked_scores(q, k, causal, lengths))[0]
                   for q, k, _, causal, lengths in attended],
        lens=[look(model, norm, name, x, ids)
              for name, x in zip(["embedding", *(b.path for b in blocks)], states, strict=True)],
        ops=list(root.ops()),
    )


def look(model: Any, norm: Any, name: str, x: np.ndarray, ids: list[int]) -> Lens:
    """Return the logit lens at one layer: apply the last norm and the output layer to the stream x (T, C)."""
    with inference(model):
        log_p = ops.log_softmax(model.head(norm(Tensor(x[None]))).data[0])
    best = log_p.argmax(axis=-1)
    rows = np.arange(len(ids))
    return Lens(name, best, np.exp(log_p[rows, best]), -log_p[rows[:-1], ids[1:]])
