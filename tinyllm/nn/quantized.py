"""Define linear layers with weights of 8 or 4 bits: generation is faster because it reads fewer bytes.

`quantize(model, 8)` replaces the layers of a model. `ops/quant.py` explains the format of the packed weights,
how large their errors are, and why the products are fast.
"""

from collections.abc import Callable

import numpy as np

from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.nn.init import Buffer, full
from tinyllm.nn.layers import Adaptable, Head, Linear
from tinyllm.nn.lora import adapters
from tinyllm.nn.module import Module, replace
from tinyllm.ops.quant import dequantize, packed_shapes
from tinyllm.tensor import Tensor, as_array, record


class QuantizedLinear(Adaptable):
    """Base of Int8Linear and Int4Linear: y = x @ W + bias, with packed weights, which are not trained.

    x (..., n_in) -> y (..., n_out). The weights of a new layer are 0. The gradient of x is that of a product
    with the weights that are stored, as if x had not been rounded: what is below can be trained, an adapter.
    """

    bits: int
    kind: type

    def __init__(self, n_in: int, n_out: int, bias: bool = True, head: bool = False):
        q_shape, scales_shape = packed_shapes(self.bits, n_in, n_out)
        self.q = Buffer(full(q_shape, 0, self.kind))
        self.scales = Buffer(full(scales_shape, 0, np.uint16), check_scales)
        self.bias = Buffer(full(n_out)) if bias else None
        self.sizes, self.head = (n_in, n_out), head
        self.packed = n_in * n_out + bias * n_out

    @classmethod
    def from_weights(cls, weight: np.ndarray, bias: np.ndarray | None = None, head: bool = False
                     ) -> "QuantizedLinear":
        """Quantise arrays into a layer: weight (n_in, n_out), bias (n_out,) or None.

        Raises ValueError when a weight is not finite, or its absolute value is 2^127 or more.
        """
        n_in, n_out = weight.shape
        layer = cls(n_in, n_out, bias is not None, head)
        q, scales = getattr(ops, f"quantize_int{cls.bits}")(np.asarray(weight, np.float32))
        layer.q.data, layer.scales.data = q, scales
        if layer.bias is not None:
            layer.bias.data = np.array(bias, np.float32)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        product = ops.linear_int8 if self.bits == 8 else ops.linear_int4
        bias = None if self.bias is None else self.bias.data
        y = product(x.data, self.q.data, self.scales.data, self.sizes[1], bias)

        def backward(dy):
            return (ops.matmul(dy, self.dequantized(), transpose_b=True),)

        return record(y, (x,), backward)

    def dequantized(self) -> np.ndarray:
        """Return the weights that are stored, as float32 (n_in, n_out)."""
        return dequantize(self.bits, self.q.data, self.scales.data, *self.sizes)


class Int8Linear(QuantizedLinear):
    """Apply a linear layer with weights of 8 bits, about 1/4 of float32's: (..., n_in) -> (..., n_out)."""

    bits, kind = 8, np.int8


class Int4Linear(QuantizedLinear):
    """Apply a linear layer with weights of 4 bits, about 1/7 of float32's: (..., n_in) -> (..., n_out)."""

    bits, kind = 4, np.uint8


LAYERS = {8: Int8Linear, 4: Int4Linear}


def check_scales(name: str, scales: np.ndarray) -> None:
    """Raise UserError if a scale, given as the bits of a bfloat16 number, is infinite or NaN."""
    if ((scales & 0x7FFF) >= 0x7F80).any():  # infinity and NaN; the upper bit is the sign
        raise UserError(f"{name} holds scales that are not finite: these weights are broken")


def quantize(model: Module, bits: int, numbers: Callable[[Tensor], np.ndarray] = as_array) -> Module:
    """Replace every Linear of a model by a layer with weights of 8 or 4 bits, in place; return the model.

    The output layer (`Head`) is quantised too; if an embedding shares the weight, it keeps the original.
    Norms, biases and embeddings stay float32. `numbers` returns the array of a weight or bias, for callers
    that read it only when needed. Raises UserError, and changes nothing, when `bits` is not 8 or 4, the model
    has adapters or is quantised with other bits, or a layer's weights cannot be quantised.
    """
    if bits not in LAYERS:
        raise UserError(f"weights can have 8 or 4 bits, not {bits}")
    if bits_of(model) not in (None, bits):
        raise UserError(f"this model has weights of {bits_of(model)} bits already: they cannot become {bits}")
    if adapters(model):
        raise UserError("this model has adapters, which stay float32: nn.merge(model) before quantising it")

    def quantized(name, layer):
        try:
            return LAYERS[bits].from_weights(*_matrix(layer, numbers), isinstance(layer, Head))
        except ValueError as error:
            raise UserError(f"cannot quantise {name}: {error}") from error

    return replace(model, (Linear, Head), quantized)


def quantized_zeros(model: Module, bits: int) -> Module:
    """Replace all linear layers by quantised layers of zeros, to be loaded from a file; return the model."""

    def empty(name, layer):
        weight, bias = _matrix(layer, as_array)
        return LAYERS[bits](*weight.shape, bias is not None, isinstance(layer, Head))

    return replace(model, (Linear, Head), empty)


def _matrix(layer, numbers):
    """Return the weight (n_in, n_out) and the bias, or None, of a `Linear` or a `Head`."""
    if isinstance(layer, Head):
        return numbers(layer.weight).T, None
    return numbers(layer.weight), None if layer.bias is None else numbers(layer.bias)


def bits_of(model: Module) -> int | None:
    """Return 8 or 4 if a model has quantised layers, or None."""
    return next((layer.bits for layer in model.of_kind(QuantizedLinear).values()), None)
