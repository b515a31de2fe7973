"""Define Module, the base of layers and models, which knows its parameters by name."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyllm.errors import UserError, missing
from tinyllm.nn.init import Buffer, Naming, Parameter
from tinyllm.rng import Random
from tinyllm.tensor import Tensor, no_grad


class Module(metaclass=Naming):
    """A part of a model: call it on tensors to get a tensor. A subclass defines `forward`.

    Every attribute that is a Parameter, a Buffer, a Module, or a list or dict of Modules belongs to the
    module, in the order of assignment. Names follow attributes: `h.0.attn.c_attn.weight` is
    `model.h[0].attn.c_attn.weight`.
    """

    training = True  # dropout acts only while this is True; `train` and `eval` set it
    packed = 0  # how many weights it holds in packed (quantised) arrays instead of Parameters
    hooks: tuple[Callable[..., Any], ...] = ()  # see `passes.around`
    sizes: Any = ()  # the shape (n_in, n_out) of the matrix that a module multiplies inputs with, if it does
    reached = 1.0  # for `flops`: the share of positions that this module computes; below 1 for an expert

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output: run `forward`, inside of the module's hooks."""
        run = self.forward
        if not self.hooks:  # most modules, and each token takes hundreds of calls
            return run(*inputs, **options)
        for hook in self.hooks:
            run = partial(hook, run, self)
        return run(*inputs, **options)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output; every subclass that is called defines this method."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    if not TYPE_CHECKING:
        __getattr__ = missing

    def __repr__(self):
        return f"<{type(self).__name__} with {self.num_parameters():,} parameters>"

    def named_children(self) -> "Iterator[tuple[str, Module]]":
        """Yield (name, module) for each direct child. A list `h` gives the names `h.0`, `h.1`, ..."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, (list, tuple, dict)):
                for i, item in value.items() if isinstance(value, dict) else enumerate(value):
                    if isinstance(item, Module):
                        yield f"{name}.{i}", item

    def named_modules(self, prefix: str = "") -> "Iterator[tuple[str, Module]]":
        """Yield (name, module) for this module, called `prefix`, and all modules inside, depth first."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(_join(prefix, name))

    def of_kind(self, kind: Any) -> dict[str, Any]:
        """Return {name: module} of all modules that are instances of a class, or of one of several."""
        return {name: module for name, module in self.named_modules() if isinstance(module, kind)}

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield (name, parameter) in order of assignment, a shared parameter only under its first name."""
        return self.named_tensors(Parameter)

    def named_tensors(self, kinds: Any = (Parameter, Buffer)) -> Iterator[tuple[str, Any]]:
        """Yield (name, tensor) once for each parameter and buffer: these are what is saved."""
        seen = set()
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, kinds) and id(value) not in seen:
                    seen.add(id(value))
                    yield _join(prefix, name), value

    def parameters(self, trainable: bool = False) -> list[Parameter]:
        """Return the parameters in the order of `named_parameters`; `trainable` leaves out frozen ones."""
        return [p for _, p in self.named_parameters() if p.requires_grad or not trainable]

    def num_parameters(self) -> int:
        """Count the numbers in all parameters, including quantised layers."""
        packed = sum(module.packed for _, module in self.named_modules())
        return packed + sum(math.prod(p.shape) for p in self.parameters())

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return {name: array} of all parameters and buffers. The arrays are not copies."""
        return {name: tensor.data for name, tensor in self.named_tensors()}

    def check_state(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Raise UserError unless the module's parameters and buffers have exactly these names and shapes."""
        tensors = dict(self.named_tensors())
        for name, tensor in tensors.items():
            if name not in shapes:
                raise UserError(f"the weights lack {name} {tensor.shape}: they belong to another model")
            if (shape := shapes[name]) != tensor.shape:
                raise UserError(f"{name} has shape {shape} in the weights and {tensor.shape} in the model")
        for name in shapes:
            if name not in tensors:
                raise UserError(f"the weights hold {name}, which this model lacks: they are of another model")

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Copy {name: array} into parameters and buffers.

        Raises UserError with the name of the first array that is missing, unknown or not finite, or that has
        another shape or kind (float, int). Everything is checked first, so a bad state changes nothing.
        """
        if isinstance(state, tuple):
            raise TypeError("load_state_dict takes {name: array}: the weights are tl.load_weights(file)[0]")
        self.check_state({name: np.shape(array) for name, array in state.items()})
        arrays = [(tensor, fitting(name, state[name], tensor)) for name, tensor in self.named_tensors()]
        for tensor, array in arrays:
            tensor.data[...] = array

    def train(self, training: bool = True) -> "Module":
        """Switch the module and all modules inside to training mode, with dropout; return the module."""
        for _, module in self.named_modules():
            module.training = training
        return self

    def eval(self) -> "Module":
        """Switch to evaluation mode, without randomness, also in all modules inside; return the module."""
        return self.train(False)

    def dropout_stream(self, *key: Any, piece: int = 0) -> None:
        """Choose dropout's random numbers: call `model.dropout_stream(seed, step)` before each training step.

        Each dropout layer gets its own stream, `Random(*key, "dropout", the layer's name)`, so that the masks
        of a step depend on seed, step and layer only, and a resumed run draws the same masks. If a batch is
        computed in pieces, one after the other or in several processes, call this before each with its
        number: the draws of a piece begin at word `piece * 2**40` of the stream.
        """
        for name, module in self.named_modules():
            if "random" in vars(module):
                vars(module)["random"] = random = Random(*key, "dropout", name)
                random.counter = piece << 40

    def flops(self, batch: int, context: int) -> dict[str, int]:
        """Count the floating-point operations of this module's own matrix products -> {label: number}.

        Modules inside are not counted. A multiplication and an addition are two operations.
        """
        return {"": round(2 * batch * context * math.prod(self.sizes) * self.reached)} if self.sizes else {}


def forward_flops(model: Module, context: int) -> int:
    """Count the FLOPs of all matrix products and attention when a model reads `context` tokens at once."""
    return sum(n for _, part in model.named_modules() for n in part.flops(1, context).values())


@contextmanager
def inference(module: Module, modules: "list[Module] | None" = None) -> Iterator[Module]:
    """Run a `with` block without gradients and dropout; then restore the mode of every module.

    Pass `modules`, a list of `module` and all modules inside, to save the time of finding them.
    """
    were_training = [m for m in modules or dict(module.named_modules()).values() if m.training]
    for m in were_training:
        m.training = False
    try:
        with no_grad():
            yield module
    finally:
        for m in were_training:
            m.training = True


def _join(prefix, name):
    return f"{prefix}.{name}" if prefix else name


def fitting(name: str, array: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Convert an array to the dtype of the tensor that it will be copied into.

    Raises UserError, with the name, when the array's kind (float, int) differs, or it has NaN or infinity.
    """
    array, kind = np.asarray(array), tensor.dtype
    if array.dtype != kind and not array.dtype.kind == kind.kind == "f":
        wanted = "floating-point" if kind.kind == "f" else kind
        raise UserError(f"{name} is {array.dtype} in the weights and must be {wanted}")
    if array.dtype.kind == "f":
        array = np.ascontiguousarray(array, kind)
        if not np.isfinite([array.min(initial=0), array.max(initial=0)]).all():  # allocates no large mask
            raise UserError(f"{name} holds numbers that are not finite: these weights are broken")
    if isinstance(tensor, Buffer) and tensor.check:
        tensor.check(name, array)
    return array


def replace(model: Module, kind: type | tuple[type, ...], fn: Callable[[str, Module], Module]) -> Module:
    """Replace every module of class `kind` in a model by `fn(name, module)`, in place; return the model.

    All new modules are made first, so the model is unchanged if fn raises.
    """
    swaps = [
        (module, name, child, fn(_join(path, name), child))
        for path, module in model.named_modules()
        for name, child in module.named_children()
        if isinstance(child, kind)
    ]
    for module, name, child, new in swaps:
        new.train(child.training).reached = child.reached
        attribute, _, index = name.partition(".")
        if index:  # an element of a list or dict, such as h.3
            old = getattr(module, attribute)
            children: Any = old if isinstance(old, dict) else list(old)  # old may be a tuple
            children[index if isinstance(old, dict) else int(index)] = new
            setattr(module, attribute, children)
        else:
            setattr(module, name, new)
    return model
