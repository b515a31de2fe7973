"""Prune a model: set weights of linear layers to 0, or take out heads or layers, for a smaller config."""

import re
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tinyllm import nn, ops
from tinyllm.errors import UserError
from tinyllm.nn.attention import Attention, GroupedAttention

METHOD = re.compile(r"(magnitude|wanda):(\d*\.?\d+)|(?:(wanda):)?(\d+):(\d+)|(heads|layers):([1-9]\d*)")
READS = "wanda", "heads", "layers"  # these ways to prune read texts


def prune(model: Any, how: str, tokens: Any = None) -> Any:
    """Prune a model in place, and return it: `prune(model, "wanda:0.5", tokens)`.

    how: "magnitude:SHARE" sets this share of each matrix to 0, where |w| is smallest. "N:M" keeps N of each M
        weights of an output, the largest. "wanda:SHARE" and "wanda:N:M" compare the weights of an output by
        |w| times the size of what they are multiplied with. "heads:N" takes from each layer the N heads
        whose weights count least in this sense, "layers:N" the layers that the loss needs least.
    tokens: texts that the model reads to find out, (B, T); "magnitude" and "N:M" need none.

    Raises UserError, and changes nothing, when the model is quantised or cannot be pruned in this way.
    """
    if not (found := METHOD.fullmatch(how)):
        raise UserError(f"cannot prune {how[:40]!r}: give wanda:0.5, magnitude:0.5, 2:4, heads:2 or layers:1")
    if nn.bits_of(model):
        raise UserError("quantised weights cannot be pruned: give the run that they were made from")
    method, share, n, m = found[1] or found[3] or found[6], float(found[2] or 0), found[4], found[5]
    if method in READS and (tokens is None or not isinstance(model, nn.DecoderLM)):
        raise UserError(f"{how} needs a decoder and texts: give magnitude:0.5 or 2:4")
    if found[6]:
        return (drop_heads if method == "heads" else drop_layers)(model, int(found[7]), tokens)
    if share > 1 or (n and not int(n) <= int(m) > 0):
        raise UserError(f"{how}: give a share from 0 to 1, or N:M to keep N of M weights")
    norms = input_norms(model, tokens) if method == "wanda" else {}
    for name, layer in model.of_kind(nn.Linear).items():
        w = layer.weight.data if n or norms else layer.weight.data.reshape(-1, 1)  # one group for the matrix
        sizes = norms.get(name, np.ones(len(w), np.float32))
        kept = (int(n), int(m)) if n else (len(w) - int(share * len(w)), max(len(w), 1))
        layer.weight.data = ops.prune_n_m(w, sizes, *kept).reshape(layer.weight.shape)
    return model


def input_norms(model: Any, tokens: Any) -> dict[str, np.ndarray]:
    """Return {name: the norm of each input (I,)} of linear layers; ones for a layer that no text reached."""
    squares = {name: np.zeros(layer.sizes[0]) for name, layer in model.of_kind(nn.Linear).items()}

    def add(name, x, y):
        squares[name] += np.square(x.data).reshape(-1, x.shape[-1]).sum(axis=0)

    with ExitStack() as stack, nn.inference(model):
        for name in squares:
            stack.enter_context(nn.tap(model, name, partial(add, name)))
        model.hidden(tokens)
    return {name: np.sqrt(x if x.any() else x + 1).astype(np.float32) for name, x in squares.items()}


def drop_heads(model: Any, count: int, tokens: Any) -> Any:
    """Take `count` query heads, with their keys and values, out of each layer; return the model."""
    config, parts = model.config, model.of_kind(GroupedAttention)
    if not parts:
        raise UserError(f"the heads of a {type(model).__name__} share its width: prune its layers")
    shared = config.heads // config.kv_heads
    left = config.kv_heads - count // shared
    if count % shared or left < 1:
        raise UserError(f"heads:{count}: a layer has {config.heads} heads, {shared} to each of its keys and "
                        f"values: give a multiple of {shared} below {config.heads}")
    norms = input_norms(model, tokens)
    for name, part in parts.items():
        scores = (part.o_proj.weight.data * norms[f"{name}.o_proj"][:, None]) ** 2
        best = np.argsort(-scores.reshape(config.kv_heads, -1).sum(axis=1), kind="stable")
        for layer in (part.q_proj, part.k_proj, part.v_proj, part.o_proj):
            axis, own = (0, [layer.weight]) if layer is part.o_proj else (-1, layer.parameters())
            for tensor in own:
                pieces = np.split(tensor.data, config.kv_heads, axis)
                tensor.data = np.concatenate([pieces[i] for i in sorted(best[:left])], axis)
        part.heads, part.kv_heads = left * shared, left
    model.config = replace(config, heads=left * shared, kv_heads=left, head_width=part.head_width)
    return model


def drop_layers(model: Any, count: int, tokens: Any) -> Any:
    """Take out `count` blocks, in turn those without which the loss is lowest ("Shortened LLaMA", 2024)."""
    names = [name.rpartition(".")[0] for name in model.of_kind(Attention)]
    if count >= len(names):
        raise UserError(f"layers:{count}: the model has {len(names)}, and one must stay")
    modules = dict(model.named_modules())
    blocks = [modules[name] for name in names]
    if len({vars(block).get("rotates") for block in blocks}) > 1:
        raise UserError(f"the layers of a {type(model).__name__} differ by their place, which would change")
    path, _, attribute = names[0].rpartition(".")[0].rpartition(".")

    def loss(without=None):
        setattr(modules[path], attribute, [block for block in blocks if block is not without])
        with nn.inference(model):
            return model.loss(tokens[:, :-1], tokens[:, 1:]).item()

    for _ in range(count):
        blocks.remove(min(blocks, key=loss))
    setattr(modules[path], attribute, blocks)
    model.config = replace(model.config, layers=len(blocks))
    return model
