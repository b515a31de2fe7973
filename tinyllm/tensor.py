"""Define Tensor, an array that remembers how it was computed, so that gradients can be computed.

Every differentiable function computes its output with NumPy arrays. It passes the output to `record`, with
its inputs and a closure that turns the output's gradient into one gradient per input. `Tensor.backward` calls
these closures from the last to the first, and frees each closure with the activations that it kept. So a
second `backward()` through the same records is an error, and there are no gradients of gradients.

    def softmax(x):
        y = ops.softmax(x.data)
        def backward(dy):
            return (ops.softmax_backward(dy, y),)
        return record(y, (x,), backward)
"""

import contextlib
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyllm import ops
from tinyllm.errors import instead, missing
from tinyllm.tape import Node, gradients, mode, plus, run


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Compute without recording inside a `with` block, for evaluation and generation."""
    before, mode.recording = mode.recording, False
    try:
        yield
    finally:
        mode.recording = before


@contextlib.contextmanager
def remaking() -> Iterator[None]:
    """Save memory: at the end of a `with` block, drop the outputs that are cheap to compute again.

    These outputs come from steps that pass `again` to `record`; the backward pass recomputes the same bits.
    Source: Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models", 2022.
    """
    made: list[weakref.ref[LazyTensor]] = []  # weak: an unused output is freed at once
    before, mode.remade = mode.remade, made
    try:
        yield
    finally:
        mode.remade = before
        for reference in made:
            if (tensor := reference()) is not None:
                del tensor.data


def record(y: Any, parents: Sequence["Tensor"], backward: Callable, again: Callable | None = None) -> Any:
    """Wrap the output of a step in a Tensor, and record how its gradient flows back to the parents.

    y is an array or a tuple of arrays -> a Tensor or a tuple of Tensors. `backward(dy)` takes one gradient
    per output and returns one per parent, in order; None means zero. `backward` changes no array, and may
    return None for a parent without `requires_grad`. `again()`, for cheap steps, computes y a second time
    (see `remaking`).
    """
    if not mode.recording:  # fast, because generation makes thousands of calls per second
        return tuple(map(Tensor, y)) if isinstance(y, tuple) else Tensor(y)
    arrays = y if isinstance(y, tuple) else (y,)
    outputs = tuple(Tensor(a) for a in arrays) if again is None else (remakeable(y, again),)
    if any(p.requires_grad for p in parents):
        likes = tuple((a.shape, a.dtype, a.item() if a.size == 1 else None) for a in arrays)
        node = Node(tuple(p.source for p in parents), backward, likes)
        for i, out in enumerate(outputs):
            out.requires_grad = True
            out._node, out._output = node, i
    return outputs if isinstance(y, tuple) else outputs[0]


def _compare(compare):
    def method(self, other):
        return compare(self.data, as_array(other))

    return method


class Tensor:
    """An array with a gradient.

    `data` is the array: floats and lists of floats become float32, whole numbers int64; arrays keep their
    dtype. `grad` is None, or the sum of gradients that `backward` has computed. `grad` may share memory with
    other gradients, so replace it and never write into it. Raises TypeError if a tensor with gradient does
    not hold floats.
    """

    __slots__ = ("__weakref__", "_node", "_output", "data", "grad", "requires_grad")
    __array_ufunc__ = None  # so that array + tensor calls the tensor's __radd__

    def __init__(self, data: Any, requires_grad: bool = False):
        self.data = data
        if type(data) is not np.ndarray:  # each token of a text makes hundreds of Tensors
            self.data = np.asarray(data)
            if not isinstance(data, (np.ndarray, np.generic)) and self.data.dtype == np.float64:
                self.data = self.data.astype(np.float32)
        if requires_grad and self.data.dtype.kind != "f":
            raise TypeError(f"only floats have gradients, got {self.data.dtype}; use astype(np.float32)")
        self.requires_grad = requires_grad
        self.grad: Any = None
        self._node: Node | None = None  # the step that made this, or None for a leaf
        self._output = 0  # the index among the outputs of that step

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)
    ndim = property(lambda self: self.data.ndim)
    T = property(lambda self: self.transpose())

    @property
    def source(self) -> tuple[Any, int] | None:
        """Return the key under which this tensor's gradient is collected, or None (see Node)."""
        return (self._node or self, self._output) if self.requires_grad else None

    if not TYPE_CHECKING:
        __getattr__ = missing

    def __repr__(self):
        numbers = np.array2string(self.data, separator=", ", prefix=" " * 7, threshold=100, edgeitems=2)
        return f"{type(self).__name__}({numbers}, {self.shape}{', requires_grad=True' * self.requires_grad})"

    def __len__(self):
        return len(self.data)

    def numpy(self) -> np.ndarray:
        """Return the array itself; it is not copied."""
        return self.data

    def item(self) -> float:
        """Return the value of a tensor with one element, as a Python number."""
        return self.data.item()

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __bool__(self):
        return bool(self.data)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.data, dtype) if copy else np.asarray(self.data, dtype)

    def detach(self) -> "Tensor":
        """Return a new leaf that shares this tensor's array and needs no gradient."""
        return Tensor(self.data)

    def backward(self, grad: Any = None) -> None:
        """Compute the gradient of this tensor for every leaf that requires one, and add it to `leaf.grad`.

        `grad` is the gradient to start from, by default 1 for a tensor with one element. The graph is freed.
        Raises RuntimeError when nothing was recorded or the graph was freed, ValueError when grad is missing
        or has another shape than the tensor.
        """
        if not self.requires_grad:
            raise RuntimeError("backward() needs a tensor that requires_grad, computed outside no_grad()")
        if grad is None and self.data.size != 1:
            raise ValueError(f"backward() from shape {self.shape} needs a gradient of it, or a sum() before")
        grad = np.ones_like(self.data) if grad is None else np.asarray(as_array(grad), self.dtype)
        if grad.shape != self.shape:
            raise ValueError(f"backward() from shape {self.shape} got a gradient of shape {grad.shape}")
        for leaf, dx in gradients(self, grad).items():
            leaf.grad = dx if leaf.grad is None else np.asarray(plus(leaf.grad, dx))

    # Arithmetic broadcasts as in NumPy; a gradient is summed over the axes where an input was stretched.

    def like(self, x: Any) -> "Tensor":
        """Convert x to a Tensor; a number or a plain array gets the float dtype of this tensor."""
        if isinstance(x, Tensor):
            return x
        return Tensor(np.asarray(x, self.dtype if self.dtype.kind == "f" else None))

    def __add__(self, other):
        x, y = self, self.like(other)
        x_shape, y_shape = x.data.shape, y.data.shape  # so that backward does not keep x and y alive

        def backward(dz):
            return ops.sum_to_shape(dz, x_shape), ops.sum_to_shape(dz, y_shape)

        return record(plus(x.data, y.data), (x, y), backward)

    def __mul__(self, other):
        x, y = self, self.like(other)

        def backward(dz):
            return ops.sum_to_shape(dz * y.data, x.shape), ops.sum_to_shape(dz * x.data, y.shape)

        return record(x.data * y.data, (x, y), backward)

    def __truediv__(self, other):
        x, y = self, self.like(other)
        z = x.data / y.data

        def backward(dz):
            return ops.sum_to_shape(dz / y.data, x.shape), ops.sum_to_shape(-dz * z / y.data, y.shape)

        return record(z, (x, y), backward)

    def __matmul__(self, other):
        x, y = self, self.like(other)
        if 1 not in (x.ndim, y.ndim):
            return matmul(x, y)
        rows = x.reshape(1, -1) if x.ndim == 1 else x  # a vector is a row on the left, a column on the right
        columns = y.reshape(-1, 1) if y.ndim == 1 else y
        z = matmul(rows, columns)
        return z.reshape(z.shape[:-2] + z.shape[-2:-1] * (x.ndim > 1) + z.shape[-1:] * (y.ndim > 1))

    def __pow__(self, n):
        """Raise to a power n, a number."""
        if isinstance(n, Tensor):
            raise TypeError("the power must be a number; for x ** y of tensors write (x.log() * y).exp()")
        return record(self.data**n, (self,), lambda dy: (dy * n * self.data ** (n - 1 if n else 0),))

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -self.like(other)

    def __rsub__(self, other):
        return -self + other

    def __rtruediv__(self, other):
        return self.like(other) / self

    def __rmatmul__(self, other):
        return self.like(other) @ self

    __radd__ = __add__
    __rmul__ = __mul__

    # Comparisons return plain arrays of booleans. As a key of a dictionary, a tensor equals only itself.

    __lt__, __le__, __gt__ = _compare(np.less), _compare(np.less_equal), _compare(np.greater)
    __ge__, __eq__, __ne__ = _compare(np.greater_equal), _compare(np.equal), _compare(np.not_equal)
    __hash__ = object.__hash__

    def exp(self) -> "Tensor":
        """Return e to the power of each number."""
        y = run(ops.exp, self.data)
        return record(y, (self,), lambda dy: (dy * y,))

    def log(self) -> "Tensor":
        """Return the natural logarithm of each number."""
        return record(run(ops.log, self.data), (self,), lambda dy: (dy / self.data,))

    def sqrt(self) -> "Tensor":
        """Return the square root of each number."""
        return self**0.5

    def tanh(self) -> "Tensor":
        """Return the hyperbolic tangent of each number."""
        y = run(ops.tanh, self.data)
        return record(y, (self,), lambda dy: (dy * (1 - y * y),))

    @instead(dim="axis=", keepdim="keepdims=")
    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> "Tensor":
        """Sum over one axis, over several axes, or over all."""
        shape = self.shape

        def backward(dy):
            dy = dy if axis is None or keepdims else np.expand_dims(dy, axis)
            return (np.broadcast_to(dy, shape).copy(),)

        return record(self.data.sum(axis=axis, keepdims=keepdims), (self,), backward)

    @instead(dim="axis=", keepdim="keepdims=")
    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> "Tensor":
        """Average over one axis, over several axes, or over all."""
        total = self.sum(axis, keepdims)
        return total / (self.data.size / max(total.data.size, 1))

    @instead(dim="axis=", keepdim="keepdims=")
    def max(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> "Tensor":
        """Return the largest numbers over one axis, several, or all; equal maxima share the gradient."""
        most = self.data.max(axis=axis, keepdims=True)

        def backward(dy):
            equal = self.data == most
            return (equal * (dy.reshape(most.shape) / equal.sum(axis, dy.dtype, keepdims=True)),)

        return record(most if keepdims else self.data.max(axis=axis), (self,), backward)

    def reshape(self, *shape: Any) -> "Tensor":
        """Return a tensor of another shape with the same numbers in the same order."""
        before = self.data.shape
        return record(self.data.reshape(*shape), (self,), lambda dy: (dy.reshape(before),))

    def transpose(self, *axes: int) -> "Tensor":
        """Reorder the axes as listed in `axes`, or reverse them when none are given.

        Raises ValueError unless all axes are listed: `swapaxes` exchanges two.
        """
        if axes and len(axes) != self.ndim:
            raise ValueError(f"transpose takes the new order of all {self.ndim} axes, got {axes}; "
                             "swapaxes exchanges two axes")
        order = [a % self.ndim for a in axes] or range(self.ndim)[::-1]
        return record(self.data.transpose(order), (self,), lambda dy: (dy.transpose(np.argsort(order)),))

    def swapaxes(self, a: int, b: int) -> "Tensor":
        """Exchange two axes, as `transpose` of PyTorch does."""
        order = list(range(self.ndim))
        order[a], order[b] = order[b], order[a]
        return self.transpose(*order)

    def __getitem__(self, index):
        """Take a part by NumPy's indexing; an element taken twice gets the sum of both gradients."""
        shape, dtype = self.shape, self.dtype
        parts = map(as_array, index if isinstance(index, tuple) else (index,))
        index = tuple(np.array(i, None if len(i) else int) if isinstance(i, Sequence) else i for i in parts)
        picks = any(isinstance(i, np.ndarray) for i in index)  # slices take no element twice

        def backward(dy):
            dx = np.zeros(shape, dtype)
            if picks:
                np.add.at(dx, index, dy)
            else:
                dx[index] = dy
            return (dx,)

        return record(self.data[index], (self,), backward)


def matmul(a: Tensor, b: Tensor, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    """Multiply matrices: a (..., M, K), b (..., K, N) -> (..., M, N)."""
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        a, b = as_tensors(a, b)
    y = run(ops.matmul, a.data, b.data, transpose_a=transpose_a, transpose_b=transpose_b)

    def backward(dy):
        if not (b.requires_grad or transpose_a):  # b is frozen: skip the product for its gradient
            da = run(ops.matmul, dy, b.data, transpose_b=not transpose_b)
            return ops.sum_to_shape(da, a.shape), None
        return run(ops.matmul_backward, dy, a.data, b.data, transpose_a=transpose_a, transpose_b=transpose_b)

    return record(y, (a, b), backward)


class LazyTensor(Tensor):
    """A tensor whose array may be missing: after `del x.data`, `make()` computes it when it is read next."""

    __slots__ = ("make",)

    def __init__(self, data: Any, make: Callable[[], np.ndarray], requires_grad: bool = False):
        super().__init__(data, requires_grad)
        self.make = make

    if not TYPE_CHECKING:

        def __getattr__(self, name):  # Python calls this for names that are not found
            if name != "data":
                missing(self, name)
            self.data = self.make()
            return self.data


def remakeable(y: np.ndarray, again: Callable) -> Tensor:
    """Return y as a Tensor; `remaking` can drop the array, and `again()` computes it again."""
    if mode.remade is None:
        return Tensor(y)
    tensor = LazyTensor(y, again)
    mode.remade.append(weakref.ref(tensor))
    return tensor


def as_array(x: Any) -> Any:
    """Return the array of a Tensor; return anything else unchanged."""
    return x.data if isinstance(x, Tensor) else x


def as_tensor(x: Any) -> Any:
    """Convert an array, a list or a number to a Tensor of float32; return a Tensor unchanged."""
    return x if isinstance(x, Tensor) else Tensor(np.asarray(x, np.float32))


def as_tensors(*xs: Any) -> tuple[Any, ...]:
    """Convert all arguments to Tensors with the dtype of the first Tensor among them; None stays None."""
    like = next((x.like for x in xs if isinstance(x, Tensor)), as_tensor)
    return tuple(x if x is None else like(x) for x in xs)
