"""Activation checkpointing for modules: keep a block's input, compute the rest again in the backward pass."""

import tinyllm.functional as F
from tinyllm.nn.layers import Dropout


def checkpoint(module, *inputs):
    """Compute module(*inputs) with `functional.checkpoint`, so that the second time draws the same dropout masks.

    The module maps Tensors to one Tensor. Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016.
    """
    dropouts = [m for _, m in module.named_modules() if isinstance(m, Dropout)]
    draws = [(d.random, d.random.counter) for d in dropouts]

    def run(*tensors):
        for dropout, (random, counter) in zip(dropouts, draws, strict=True):
            dropout.random, random.counter = random, counter
        return module(*tensors)

    return F.checkpoint(run, *inputs, params=module.parameters())
