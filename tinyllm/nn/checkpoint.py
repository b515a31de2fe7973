"""Activation checkpointing for modules: keep a block's input, compute the rest again in the backward pass."""

import tinyllm.functional as F
from tinyllm.nn.layers import Dropout
from tinyllm.nn.module import Module
from tinyllm.tensor import Tensor


def checkpoint(module: Module, *inputs: Tensor) -> Tensor:
    """Compute module(*inputs) and keep only its inputs; the backward pass computes the module again.

    Both times the same dropout masks are drawn. The module maps Tensors to one Tensor. Source: Chen et al.,
    "Training Deep Nets with Sublinear Memory Cost", 2016.
    """
    dropouts = [m for _, m in module.named_modules() if isinstance(m, Dropout)]
    first = [d.random.counter for d in dropouts]

    def run(*tensors):
        now = [d.random.counter for d in dropouts]
        for d, counter in zip(dropouts, first, strict=True):
            d.random.counter = counter
        y = module(*tensors)
        for d, counter in zip(dropouts, now, strict=True):
            d.random.counter = max(counter, d.random.counter)  # what was drawn since is not drawn again
        return y

    return F.checkpoint(run, *inputs, params=module.parameters())
