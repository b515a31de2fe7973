"""Change how the modules of a finished model are run, by functions called passes.

`fuse` and `recompute` keep every bit of the output; `tap` and `pack_cache` can change it. `LanguageModel`
applies `fuse` and `recompute` to every new model, so model files contain only the mathematics.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tinyllm.functional as F
from tinyllm import ops
from tinyllm.errors import UserError, did_you_mean
from tinyllm.nn.attention import Attention
from tinyllm.nn.cache import CODECS
from tinyllm.nn.layers import MLP, Linear, plain
from tinyllm.nn.module import Module
from tinyllm.tensor import Tensor, remaking

LARGE = 2 << 20  # `recompute` drops activations for inputs of this many bytes: for less, time matters more


def around(module: Module, fn: Callable[..., Any]) -> None:
    """Wrap one module, so that calling it runs `fn(call, module, *inputs)`, where `call` is the old method.

    The module gets a new subclass of its class, so other modules of the class are not slowed down.
    """
    kind = type(module)
    call = kind.__call__

    def __call__(self, *args, **kwargs):
        return fn(call, self, *args, **kwargs)

    def __reduce__(self):  # pickle cannot find a class made inside a function
        return _wrapped, (kind, fn), vars(self)

    members = {"__call__": __call__, "__reduce__": __reduce__, "__doc__": kind.__doc__}
    module.__class__ = type(kind.__name__, (kind,), members)


def _wrapped(kind, fn):
    module = kind.__new__(kind)
    around(module, fn)
    return module


@contextmanager
def tap(model: Module, name: str, fn: Callable[[Tensor, Tensor], Tensor | None]) -> Iterator[Module]:
    """Watch or change the output of one module of a model inside a `with` block.

    Every call runs `fn(x, y)` on its first input x and its output y. A Tensor returned by fn replaces y.
    Yields the module. Raises UserError when the model has no module of this name.

        with nn.tap(model, "h.1.mlp", lambda x, y: y * 0):
            logits = model(tokens)
    """
    modules = dict(model.named_modules())
    if name not in modules:
        raise UserError(f"{type(model).__name__} has no module {name!r}{did_you_mean(name, modules)}")
    module = modules[name]
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
    """Save memory in training: let blocks drop activations, and compute them again in the backward pass.

    A block is a module in a list, such as `h.0`, unless the list is inside a block. If a block's input has at
    least `large` bytes, the block keeps only the residual stream and the inputs and output of attention. With
    products in bf16 a block keeps everything, because computing it again takes too long. Returns the model.
    """
    for path, module in model.named_modules():
        if any(name.isdigit() for name in path.split(".")):
            continue
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
    """An MLP that runs its first layer and its activation in one kernel; see `fuse`."""

    def __call__(self, x: Tensor) -> Tensor:
        if not plain(self.c_fc, Linear):
            return super().__call__(x)
        return self.c_proj(F.linear_gelu(x, self.c_fc.weight, self.c_fc.bias))


def fuse(model: Module) -> Module:
    """Make every MLP of a model run its first layer and activation in one kernel; return the model."""
    for module in model.of_kind(MLP).values():
        if plain(module, MLP):
            module.__class__ = FusedMLP
    return model


def pack_cache(model: Module, kind: str) -> Module:
    """Make a model's KV caches store "bf16" or "int8" numbers, or "float32" again; return the model.

    This applies to caches made by `new_cache` from now on, also in generation. A cache unpacks the keys and
    values of one layer at a time, because attention computes in float32. Raises UserError for another kind,
    and for a model that is not a decoder.
    """
    if kind not in CODECS:
        raise UserError(f"a cache can hold {', '.join(CODECS)}, not {kind}")
    if getattr(model, "objective", "") != "causal":
        raise UserError(f"only decoders have a cache that can be packed, and {type(model).__name__} is none")
    for module in model.of_kind(Attention).values():
        vars(module)["cache_kind"] = kind
    return model
