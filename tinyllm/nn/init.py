"""Define the tensors that belong to a module, and the initial values of its parameters."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyllm.errors import missing
from tinyllm.ops.quant import bfloat16, from_bfloat16
from tinyllm.ops.shapes import FLOAT32
from tinyllm.rng import Random
from tinyllm.tensor import LazyTensor, Tensor

_real = ContextVar("real", default=True)  # False inside `without_memory`


@contextmanager
def without_memory() -> Iterator[None]:
    """Give new modules in a `with` block read-only arrays of zeros, which take no memory.

    This is how a file's names and shapes are checked against a model before anything large is allocated.
    """
    before = _real.set(False)
    try:
        yield
    finally:
        _real.reset(before)


def full(shape: int | tuple[int, ...], value: float = 0.0, dtype: type = np.float32) -> np.ndarray:
    """Return an array filled with one value, for a new parameter or buffer."""
    one: np.ndarray = np.asarray(value, dtype)
    return np.full(shape, one) if _real.get() else np.broadcast_to(one, shape)


@dataclass
class Normal:
    """Draw normal random numbers of mean 0 for a parameter: call it to get an array of this shape.

    `name` is the parameter's name in the largest module that contains it. The numbers come from
    `Random(seed, "init", name)`, so they do not depend on the order in which layers are made.
    """

    shape: tuple[int, ...]
    std: float
    name: str = ""
    seed: int = 0
    dtype: Any = FLOAT32

    def __call__(self) -> np.ndarray:
        numbers = Random(self.seed, "init", self.name).normal(self.shape) * self.std
        return numbers.astype(self.dtype, copy=False)


_data: Any = vars(Tensor)["data"]  # Tensor's slot: reading it does not draw the values


class Parameter(LazyTensor):
    """A tensor that training changes: it requires a gradient, and its module lists it by name.

    `make` is a `Normal` with the standard deviation that `init_normal` gives a matrix by default.
    """

    __slots__ = ()
    make: Normal

    def __init__(self, data: Any, std: float = 0.02):
        super().__init__(data, Normal(np.shape(data), std), requires_grad=True)

    @property
    def _known(self) -> Any:
        """Return the array, or before it is drawn `make`, which has the same shape and dtype."""
        try:
            return _data.__get__(self)
        except AttributeError:
            return self.make

    shape = property(lambda self: self._known.shape)
    dtype = property(lambda self: self._known.dtype)
    ndim = property(lambda self: len(self.shape))
    name = property(lambda self: self.make.name)


def random_parameter(shape: tuple[int, ...], std: float) -> Parameter:
    """Return a new parameter whose values are drawn on first use, from its name's stream: see `Normal`."""
    p = Parameter(np.broadcast_to(np.float32(0), shape), std)
    if _real.get():
        del p.data
    return p


class HalfParameter(Parameter):
    """A parameter that stores bfloat16 numbers, 2 bytes each: see `passes.store_bf16`."""

    __slots__ = ()
    dtype = property(lambda self: FLOAT32)

    @property
    def data(self) -> np.ndarray:  # type: ignore[override]
        """Return the numbers as float32, in a new array; it is read-only, as no weight would change."""
        x = from_bfloat16(_data.__get__(self))
        x.flags.writeable = False
        return x

    @data.setter
    def data(self, x: np.ndarray) -> None:
        _data.__set__(self, bfloat16(x))


class Buffer(Tensor):
    """A tensor that belongs to a module and is saved with it, but that training does not change.

    `check(name, array)`, if given, is called before an array is loaded, and may raise UserError.
    """

    __slots__ = ("check",)

    def __init__(self, data: Any, check: Callable[[str, np.ndarray], None] | None = None):
        super().__init__(data)
        self.check = check


class Naming(type):
    """The metaclass of Module: it names the parameters and dropout layers of every new module.

    Names are part of the seeds from which a parameter's initial values and dropout's masks are drawn.
    """

    def __call__(cls, *args: Any, **options: Any) -> Any:
        module = super().__call__(*args, **options)
        for name, value in vars(module).items():
            if isinstance(value, Tensor) and value.requires_grad and not isinstance(value, Parameter):
                raise TypeError(f"{cls.__name__}.{name} would be neither trained nor saved: wrap it in "
                                "nn.Parameter, not in a Tensor")
        for name, p in module.named_parameters():
            if len(name) > len(p.make.name):
                p.make.name = name
        module.dropout_stream()
        return module

    if not TYPE_CHECKING:
        __getattr__ = missing  # explains the error for names such as GPT.from_pretrained


def init_normal(module: Any, seed: int, std: float | Callable[[str], float] | None = None) -> None:
    """Fill every matrix of a model with normal random numbers of mean 0, the same on every machine.

    Vectors (biases and the weights of norms) stay as they are. `std` is the standard deviation, or a function
    that returns it for a parameter's name, or None for each parameter's own. Until this is called, a module
    made of layers has the values of seed 0.
    """
    for name, p in module.named_parameters():
        if p.ndim >= 2:
            own = p.make.std if std is None else std(name) if callable(std) else std
            p.data = Normal(p.shape, own, name, seed, p.dtype)()
