"""Divide the layers of a model over processes, each of which computes a part of every layer.

The first matrix of an attention layer or an MLP is cut into columns, the second into rows. So a process needs
no numbers of the others in between, and the sum of all results is the output. Tables of embeddings and the
output layer are cut into rows. (Shoeybi et al., "Megatron-LM", 2019, section 3.)
"""

import math
from typing import Any

import numpy as np

import tinyllm.functional as F
from tinyllm import nn, ops
from tinyllm.errors import UserError
from tinyllm.nn.layers import GatedMLP
from tinyllm.nn.passes import around
from tinyllm.ops.loss import IGNORED
from tinyllm.ops.softmax import logsumexp
from tinyllm.tape import run
from tinyllm.tensor import Tensor, record
from tinyllm.train.group import Group

CUT: dict[type, tuple[tuple[str, ...], str, int]] = {  # cut into columns, into rows, and blocks of columns
    nn.SelfAttention: (("c_attn",), "c_proj", 3),
    nn.GroupedAttention: (("q_proj", "k_proj", "v_proj"), "o_proj", 1),
    nn.MLP: (("c_fc",), "c_proj", 1),
    GatedMLP: (("gate_proj", "up_proj"), "down_proj", 1),
}
NORMS, TABLES = (nn.LayerNorm, nn.RMSNorm), (nn.Embedding, nn.Head)


def shared(x: Tensor, group: Group) -> Tensor:
    """Let each process use an equal x in its part of a layer, and add up the gradients of all parts."""
    return record(x.data, (x,), lambda dy: (group.all_reduce(dy),))


def summed(x: Tensor, group: Group) -> Tensor:
    """Return the sum of x over all processes, each of which gets the whole gradient."""
    return record(group.all_reduce(x.data), (x,), lambda dy: (dy,))


class TableRows(nn.Module):
    """Look up ids in a table, or score them, where each process has some rows of the table.

    weight (n, C): the rows of this process, of which the first has the number `first`.
    """

    def __init__(self, weight: Tensor, first: int, group: Group):
        self.weight, self.first, self.group = weight, first, group

    def places(self, ids: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of ids among the own rows, 0 for those of others, and which are own."""
        places = np.asarray(ids) - self.first
        own = (places >= 0) & (places < self.weight.shape[0])
        return np.where(own, places, 0), own

    def forward(self, ids: Any) -> Tensor:
        places, own = self.places(ids)
        return summed(F.embedding(self.weight, places) * own[..., None], self.group)

    def losses(self, x: Tensor, targets: np.ndarray) -> Tensor:
        """Return the cross-entropy of targets, which may be ignored: x (B, T, C), targets (B, T) -> (B, T).

        No process has all logits: they tell each other the log-sum-exp of their own, and the target's logit.
        """
        logits = F.matmul(shared(x, self.group), self.weight, transpose_b=True)
        places, own = self.places(targets)
        told = np.zeros((*targets.shape, self.group.size + 1), logits.dtype)
        told[..., self.group.rank] = logsumexp(logits.data)
        told[own, -1] = logits.data[own, places[own]]
        told = self.group.all_reduce(told)
        lse = logsumexp(told[..., :-1])

        def backward(dlosses):
            dlogits = run(ops.exp, logits.data - lse[..., None])
            dlogits[own, places[own]] -= 1
            return (dlogits * dlosses[..., None],)

        return record(lse - told[..., -1], (logits,), backward)


def require_layers(model: Any, size: int) -> None:
    """Raise UserError unless `size` processes can divide the layers of a model."""
    parts = model.of_kind(tuple(CUT))
    inside = tuple(f"{name}." for name in parts)
    for name, part in model.named_modules():
        fits = name.startswith(inside) if type(part) is nn.Linear else type(part) in (*NORMS, *TABLES)
        norm_of_heads = size > 1 and name.endswith(("q_norm", "k_norm"))
        if any(isinstance(x, Tensor) for x in vars(part).values()) and (norm_of_heads or not fits):
            raise UserError(f"parallel.tensor and parallel.pipeline cannot divide {name} of a "
                            f"{model.model_type}: take gpt2 or llama, or use parallel.data alone")
    for part in parts.values():
        counts = {"hidden numbers of an MLP": getattr(part, CUT[type(part)][0][0]).weight.shape[1]}
        if isinstance(part, nn.Attention):
            counts = {"heads": part.heads, "heads of keys": part.kv_heads}
        for what, count in counts.items():
            if count % size:
                raise UserError(f"{count} {what} do not divide by parallel.tensor={size}: "
                                f"{math.gcd(count, size)} would")


def divide_layers(model: Any, group: Group) -> dict[int, tuple]:
    """Keep the part of one process of every layer, in place -> {id of a parameter: index of its part}.

    Norms, and biases that are added to a sum, stay whole. `require_layers` says which models can be divided.
    """
    rank, size = group.rank, group.size
    cuts: dict[int, tuple] = {}
    firsts: dict[int, int] = {}

    def keep(p, *index):
        if p is not None and id(p) not in cuts:  # two layers may share a table
            cuts[id(p)] = index
            p.data = np.ascontiguousarray(p.data[index])

    def rows(_, part):
        count = part.weight.shape[0]
        first = firsts.setdefault(id(part.weight), count * rank // size)
        keep(part.weight, ops.own_columns(count, rank, size))
        return TableRows(part.weight, first, group)

    for part in model.of_kind(tuple(CUT)).values():
        columns, last, blocks = CUT[type(part)]
        for layer in (getattr(part, name) for name in columns):
            own = ops.own_columns(layer.weight.shape[1], rank, size, blocks)
            keep(layer.weight, slice(None), own)
            keep(layer.bias, own)
        layer = getattr(part, last)
        keep(layer.weight, ops.own_columns(layer.weight.shape[0], rank, size))
        layer.bias = None if rank else layer.bias  # it is added once
        around(layer, lambda call, _, x: summed(call(x), group))
        around(part, lambda call, _, x, *more: call(shared(x, group), *more))
        if isinstance(part, nn.Attention):
            part.heads, part.kv_heads = part.heads // size, part.kv_heads // size
    nn.replace(model, TABLES, rows)

    def loss(tokens, targets, weights=None, **inputs):
        counted = (targets != IGNORED) * np.float32(1 if weights is None else weights)
        losses = model.lm_head.losses(model.before_head(tokens, targets, **inputs), targets)
        return (losses * counted).sum() / float(counted.sum())

    if isinstance(model.lm_head, TableRows):  # else another stage of a pipeline has it
        vars(model)["loss"] = loss
    return cuts
