"""Define linear layers with weights of 8 or 4 bits, which generate faster because they read fewer bytes.

`quantize(model, 8)` replaces the layers of a model. `ops/quant.py` explains the format of the packed weights,
how large their errors are, and why the products are fast.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import accumulate
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.nn.init import Buffer, full
from tinyllm.nn.layers import Head, Linear
from tinyllm.nn.lora import adapters
from tinyllm.nn.module import Module, replace
from tinyllm.ops.quant import packed_shapes
from tinyllm.tensor import Tensor, record


class QuantizedLinear(Module):
    """Base of Int8Linear and Int4Linear: y = x @ W + bias, with packed weights, for inference only.

    x (..., n_in) -> y (..., n_out). The weights of a new layer are 0. The backward pass raises RuntimeError.
    """

    bits: int
    kind: type
    fused: "FusedLinears | None" = None  # one product for sibling layers; `quantize` sets it

    def __init__(self, n_in: int, n_out: int, bias: bool = True):
        q_shape, scales_shape = packed_shapes(self.bits, n_in, n_out)
        self.q = Buffer(full(q_shape, 0, self.kind))
        self.scales = Buffer(full(scales_shape, 0, np.uint16), check_scales)
        self.bias = Buffer(full(n_out)) if bias else None
        self.n_in, self.n_out = n_in, n_out
        self.packed = n_in * n_out + bias * n_out

    def _arrays(self):
        bias = "" if self.bias is None else f", bias ({self.n_out},)"
        return f", weight ({self.n_in}, {self.n_out}) in {self.bits} bits{bias}"

    @classmethod
    def from_weights(cls, weight: np.ndarray, bias: np.ndarray | None = None) -> "QuantizedLinear":
        """Quantize arrays into a layer: weight (n_in, n_out), bias (n_out,) or None.

        Raises ValueError when a weight is not finite, or its absolute value is 2^127 or more.
        """
        n_in, n_out = weight.shape
        layer = cls(n_in, n_out, bias=bias is not None)
        q, scales = getattr(ops, f"quantize_int{cls.bits}")(np.asarray(weight, np.float32))
        layer.q.data, layer.scales.data = q, scales
        if layer.bias is not None:
            layer.bias.data = np.array(bias, np.float32)
        return layer

    def __call__(self, x: Tensor) -> Tensor:
        if self.fused is not None and self.fused.applies_to(x):
            return self.fused(self, x)
        bias = None if self.bias is None else self.bias.data
        return self.product(x, self.q.data, self.scales.data, self.n_out, bias)

    def product(self, x: Tensor, q: np.ndarray, scales: np.ndarray, n_out: int,
                bias: np.ndarray | None) -> Tensor:  # fmt: skip
        """Multiply x by packed weights, of one layer or of several joined layers, and add a bias."""
        apply = ops.linear_int8 if self.bits == 8 else ops.linear_int4
        return record(apply(x.data, q, scales, n_out, bias), (x,), self._no_gradient)

    def _no_gradient(self, dy):
        raise RuntimeError(
            f"{type(self).__name__} is for inference and has no gradient: train the model first"
        )

    def flops(self, batch: int, context: int) -> dict[str, int]:
        return {"": 2 * batch * context * self.n_in * self.n_out}


class Int8Linear(QuantizedLinear):
    """Apply a linear layer with weights of 8 bits, about 1/4 of float32's size: (..., n_in) -> (..., n_out).

    The backward pass raises RuntimeError.
    """

    bits, kind = 8, np.int8


class Int4Linear(QuantizedLinear):
    """Apply a linear layer with weights of 4 bits, about 1/7 of float32's size: (..., n_in) -> (..., n_out).

    The backward pass raises RuntimeError.
    """

    bits, kind = 4, np.uint8


LAYERS = {8: Int8Linear, 4: Int4Linear}


class FusedLinears:
    """Compute several quantized layers of one input in a single product, if the input is a single row.

    Fewer calls make decoding faster. The arrays of the layers become views into the concatenated arrays. The
    layer that is called first computes the product of all layers; the others return their part of the product
    when they are called with the same tensor. With several rows, copying the parts would cost too much time.
    """

    def __init__(self, layers: list):
        self.layers = tuple(layers)
        self.q, self.scales = (self._gather(name) for name in ("q", "scales"))
        ends = list(accumulate(layer.n_out for layer in layers))
        self.parts = {id(layer): slice(end - layer.n_out, end)
                      for layer, end in zip(layers, ends, strict=True)}  # fmt: skip
        self.n_in, self.n_out = layers[0].n_in, ends[-1]
        self.latest: tuple[Any, Any] = None, None  # an input, and the product with it
        for layer in layers:
            layer.fused = self

    @staticmethod
    def can_fuse(layers: list) -> bool:
        """Return True if all layers have the same class and input width, no bias, and 16 n outputs each."""
        return isinstance(layers[0], QuantizedLinear) and all(
            type(layer) is type(layers[0]) and layer.n_in == layers[0].n_in and layer.bias is None
            and layer.n_out % 16 == 0 for layer in layers
        )  # fmt: skip

    def _gather(self, name):
        buffers = [getattr(layer, name) for layer in self.layers]
        joint = aligned(np.concatenate([buffer.data for buffer in buffers]))
        ends = list(accumulate(len(buffer.data) for buffer in buffers))
        for buffer, end in zip(buffers, ends, strict=True):
            buffer.data = joint[end - len(buffer.data) : end]
        return joint

    def applies_to(self, x: Tensor) -> bool:
        """Return True if x is one row, and every layer still uses its part of the joined arrays."""
        if x.data.size != self.n_in:
            return False
        if x is self.latest[0]:
            return True
        q, scales = self.q.base, self.scales.base  # None in a copy, whose arrays are separate
        return q is not None and scales is not None and all(
            layer.q.data.base is q and layer.scales.data.base is scales for layer in self.layers
        )  # fmt: skip

    def __call__(self, layer: QuantizedLinear, x: Tensor) -> Tensor:
        latest, y = self.latest
        if latest is not x:
            y = layer.product(x, self.q, self.scales, self.n_out, None)
            self.latest = x, y
        return record(y.data[..., self.parts[id(layer)]], (y,), layer._no_gradient)


def aligned(x: np.ndarray) -> np.ndarray:
    """Copy an array to an address that is a multiple of 64 bytes, which makes kernels faster."""
    memory = np.empty(x.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    y = memory[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
    y[...] = x
    return y


def check_scales(name: str, scales: np.ndarray) -> None:
    """Raise UserError if a scale, given as the bits of a bfloat16 number, is infinite or NaN."""
    if ((scales & 0x7FFF) >= 0x7F80).any():  # infinity and NaN; the upper bit is the sign
        raise UserError(f"{name} holds scales that are not finite: these weights are broken")


def quantize(model: Module, bits: int,
             reading: Callable[[Module], AbstractContextManager] = nullcontext) -> Module:  # fmt: skip
    """Replace every Linear of a model by a layer with weights of 8 or 4 bits, in place; return the model.

    The output layer (`Head`) is quantized too; if an embedding shares the weight, it keeps the original.
    Norms, biases and embeddings stay float32. `reading(layer)` is a context manager that gives a layer its
    weights, for callers that load weights only when needed. Raises UserError, and changes nothing, when bits
    is another number, the model has adapters, or a layer's weights cannot be quantised.
    """
    if bits not in LAYERS:
        raise UserError(f"weights can have 8 or 4 bits, not {bits}")
    if adapters(model):
        raise UserError("this model has adapters, which stay float32: nn.merge(model) before quantizing it")

    def quantized(name, layer):
        try:
            with reading(layer):
                return LAYERS[bits].from_weights(*_matrix(layer))
        except ValueError as error:
            raise UserError(f"cannot quantise {name}: {error}") from error

    return fuse_linears(replace(model, (Linear, Head), quantized))


def quantized_zeros(model: Module, bits: int) -> Module:
    """Replace all linear layers by quantized layers of zeros, to be loaded from a file; return the model.

    Call `fuse_linears` when the weights are loaded.
    """

    def empty(name, layer):
        weight, bias = _matrix(layer)
        return LAYERS[bits](*weight.shape, bias=bias is not None)

    return replace(model, (Linear, Head), empty)


def _matrix(layer):
    """Return the weight (n_in, n_out) and the bias, or None, of a `Linear` or a `Head`."""
    if isinstance(layer, Head):
        return layer.weight.data.T, None
    return layer.weight.data, None if layer.bias is None else layer.bias.data


def fuse_linears(model: Module) -> Module:
    """Fuse the quantized layers that each module lists in `same_input`, where possible; return the model."""
    for _, module in model.named_modules():
        siblings = [getattr(module, name) for name in getattr(module, "same_input", ())]
        if siblings and FusedLinears.can_fuse(siblings):
            FusedLinears(siblings)
    return model


def bits_of(model: Module) -> int | None:
    """Return 8 or 4 if a model has quantised layers, or None."""
    return next((layer.bits for layer in model.of_kind(QuantizedLinear).values()), None)
