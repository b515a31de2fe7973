"""Passes over a finished model: they change how modules are run, never a bit of what comes out.

`DecoderLM` applies `fuse` and `recompute` to every new model. A model file stays plain mathematics.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tinyllm.functional as F
from tinyllm import ops
from tinyllm.nn.layers import MLP, Linear
from tinyllm.nn.module import Module
from tinyllm.tensor import Tensor, remaking

LARGE = 2 << 20  # bytes of an input from which on memory is worth the time that saving it costs


def around(module: Module, fn: Callable[..., Any]) -> None:
    """Let calls of one module go through `fn(call, module, *inputs)`, where `call(module, *inputs)` runs it.

    The module gets a subclass of its class, so modules that nobody stands around cost nothing.
    """
    kind = type(module)

    def __call__(self, *args, **kwargs):
        return fn(kind.__call__, self, *args, **kwargs)

    module.__class__ = type(kind.__name__, (kind,), {"__call__": __call__, "__doc__": kind.__doc__})


@contextmanager
def tap(model: Module, name: str, fn: Callable[[Tensor, Tensor], Tensor | None]) -> Iterator[Module]:
    """Watch the part of a model with this name in a `with` block, and change what it returns if you like.

    `fn(x, y)` sees the first input and the output of every call. A Tensor that it returns takes the place of
    y; None leaves y as it is. Yields the part. Raises KeyError when the model has no part of that name.

        with nn.tap(model, "h.1.mlp", lambda x, y: y * 0):
            logits = model(tokens)
    """
    module = dict(model.named_modules())[name]
    kind = type(module)

    def tapped(call, part, *args, **kwargs):
        y = call(part, *args, **kwargs)
        new = fn(args[0], y)
        return y if new is None else new

    around(module, tapped)
    try:
        yield module
    finally:
        module.__class__ = kind


def recompute(model: Module, large: float = LARGE) -> Module:
    """Let the blocks of a model keep little for the backward pass, which makes the rest again.

    A block is a module in a list. It keeps the residual stream and what attention reads and returns; norms,
    activations and the wide layers before them are made again, if its input has at least `large` bytes. With
    products in bf16 all is kept, because they leave no time to make things twice. Returns the model.
    """
    for _, module in model.named_modules():
        for name, block in module.named_children():
            if "." in name and not hasattr(block, "large"):
                around(block, _remade)
            if "." in name:
                vars(block)["large"] = large
    return model


def _remade(call, block, x, *args, **kwargs):
    if not x.requires_grad or x.data.nbytes < block.large or ops.linear.backend == "bf16":
        return call(block, x, *args, **kwargs)
    with remaking():
        return call(block, x, *args, **kwargs)


class FusedMLP(MLP):
    """An MLP whose first product and activation are one pass over memory: see `fuse`."""

    def __call__(self, x):
        if type(self.c_fc) is not Linear:  # quantized, adapted, or watched by somebody
            return super().__call__(x)
        return self.c_proj(F.linear_gelu(x, self.c_fc.weight, self.c_fc.bias))


def fuse(model: Module) -> Module:
    """Let every MLP of a model run its first layer and the activation in one kernel; returns the model."""
    for _, module in model.named_modules():
        if type(module) is MLP:
            module.__class__ = FusedMLP
    return model
