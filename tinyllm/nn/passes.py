"""Change how the modules of a finished model are run, by functions called passes.

`recompute` keeps every bit of the output; the others can change it. `LanguageModel` applies `recompute` to
every new model, so model files contain only the mathematics.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tinyllm import ops
from tinyllm.errors import UserError, did_you_mean
from tinyllm.nn.attention import Attention
from tinyllm.nn.cache import CODECS
from tinyllm.nn.init import HalfParameter
from tinyllm.nn.module import Module
from tinyllm.tensor import Tensor, remaking

LARGE = 2 << 20  # bytes of a block's input from which `recompute` drops activations, at a cost in time


def around(module: Module, hook: Callable[..., Any]) -> None:
    """Make every call of one module run `hook(call, module, *inputs)`; `call` is the call without this hook.

    The hook that was added last is called first.
    """
    module.hooks = (*module.hooks, hook)


@contextmanager
def hooked(modules: Iterable[Module], hook: Callable[..., Any]) -> Iterator[None]:
    """Run a hook around the calls of some modules inside a `with` block; see `around`."""
    before = [(module, module.hooks) for module in modules]
    try:
        for module, _ in before:
            around(module, hook)
        yield
    finally:
        for module, hooks in before:
            module.hooks = hooks


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

    def tapped(call, part, x, *args, **kwargs):
        y = call(x, *args, **kwargs)
        new = fn(x, y)
        return y if new is None else new

    with hooked([module], tapped):
        yield module


def recompute(model: Module, large: float = LARGE) -> Module:
    """Save memory in training: let blocks drop activations, and compute them again in the backward pass.

    A block is a module in a list, such as `h.0`, unless the list is inside a block. If a block's input has at
    least `large` bytes, the block keeps only the residual stream and the inputs and output of attention. With
    matrix products in bf16 a block keeps everything, because recomputing takes too long. Returns the model.
    """
    for path, module in model.named_modules():
        if any(name.isdigit() for name in path.split(".")):
            continue
        for name, block in module.named_children():
            if "." in name and _remade not in block.hooks:
                around(block, _remade)
            if "." in name:
                vars(block)["large"] = large
    return model


def _remade(call, block, x, *args, **kwargs):
    if not x.requires_grad or x.data.nbytes < block.large or ops.linear.backend == "bf16":
        return call(x, *args, **kwargs)
    with remaking():
        return call(x, *args, **kwargs)


def store_bf16(model: Module) -> Module:
    """Round a model's matrices to bfloat16 and store 2 bytes for each weight; return the model.

    Each use of a matrix widens it to float32, for as long as it is used; gradients stay float32. To train
    such a model, use `MasterAdamW`.
    """
    for p in model.parameters():
        if p.ndim >= 2 and not isinstance(p, HalfParameter):
            numbers, p.__class__ = p.data, HalfParameter
            p.data = numbers
    return model


def pack_cache(model: Module, kind: str) -> Module:
    """Make a model's KV caches store "bf16" or "int8" numbers, or "float32" again; return the model.

    This applies to caches made by `new_cache` from now on, also in generation. Attention reads bf16 numbers
    as they are, and computes in float32. An int8 cache unpacks the keys and values of one layer at a time.
    Raises UserError for another kind, and for a model that is not a decoder.
    """
    if kind not in CODECS:
        raise UserError(f"a cache can hold {', '.join(CODECS)}, not {kind}")
    if kind != "float32" and getattr(model, "objective", "") != "causal":
        raise UserError(f"only decoders have a cache that can be packed, and {type(model).__name__} is none")
    for module in model.of_kind(Attention).values():
        vars(module)["cache_kind"] = kind
    return model
