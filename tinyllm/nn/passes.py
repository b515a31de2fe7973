"""Passes over a finished model: `fuse`, `recompute` and `tap` change how modules are run.

`fuse` and `recompute` never change a bit of the output. `DecoderLM` applies them to every new model, so that
model files hold mathematics only.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tinyllm.functional as F
from tinyllm import ops
from tinyllm.nn.layers import MLP, Linear
from tinyllm.nn.module import Module
from tinyllm.tensor import Tensor, remaking

LARGE = 2 << 20  # bytes of an input above which `recompute` drops activations: below, time matters more


def around(module: Module, fn: Callable[..., Any]) -> None:
    """Wrap the calls of one module: `fn(call, module, *inputs)` runs, and may run `call(module, *inputs)`.

    The module gets a subclass of its class, so modules that are not wrapped cost nothing.
    """
    kind = type(module)
    call = kind.__call__

    def __call__(self, *args, **kwargs):
        return fn(call, self, *args, **kwargs)

    module.__class__ = type(kind.__name__, (kind,), {"__call__": __call__, "__doc__": kind.__doc__})


@contextmanager
def tap(model: Module, name: str, fn: Callable[[Tensor, Tensor], Tensor | None]) -> Iterator[Module]:
    """Watch or change the output of one module of a model inside a `with` block.

    `fn(x, y)` gets the first input and the output of every call. A Tensor that it returns replaces y; None
    leaves y as it is. Yields the module. Raises KeyError when the model has no module of this name.

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
    """Make the blocks of a model keep less for the backward pass, which computes the rest again.

    A block is a module in a list. It keeps the residual stream and the inputs and output of attention; norms,
    activations and the wide layers before them are computed again, if its input has at least `large` bytes.
    With products in bf16 everything is kept, because there computing it again would cost too much time.
    Returns the model.
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
    """An MLP whose first layer and activation run in one kernel: see `fuse`."""

    def __call__(self, x: Tensor) -> Tensor:
        if type(self.c_fc) is not Linear:  # quantized, adapted or tapped
            return super().__call__(x)
        return self.c_proj(F.linear_gelu(x, self.c_fc.weight, self.c_fc.bias))


def fuse(model: Module) -> Module:
    """Make every MLP of a model run its first layer and activation in one kernel; return the model."""
    for _, module in model.named_modules():
        if type(module) is MLP:
            module.__class__ = FusedMLP
    return model
