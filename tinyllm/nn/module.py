"""Module: a part of a model that knows its parameters by name."""

from contextlib import contextmanager

import numpy as np

from tinyllm.errors import UserError
from tinyllm.rng import Random
from tinyllm.tensor import Tensor, no_grad


class Parameter(Tensor):
    """A tensor that training changes: it asks for its gradient, and its module lists it by name."""

    __slots__ = ()

    def __init__(self, data):
        super().__init__(data, requires_grad=True)


class Buffer(Tensor):
    """A tensor that belongs to a module and is saved with it, but that training does not change.

    `check(name, array)` may raise UserError on an array that is about to be loaded.
    """

    __slots__ = ("check",)

    def __init__(self, data, check=None):
        super().__init__(data)
        self.check = check


class Module:
    """A part of a model: call it on tensors to get a tensor.

    Every attribute that is a Parameter, a Module or a list of Modules belongs to it, in the order of
    assignment, and has the attribute's name: `h.0.attn.c_attn.weight` is `model.h[0].attn.c_attn.weight`.
    """

    training = True  # dropout acts only while this holds; `train` and `eval` set it

    def named_children(self):
        """Yield (name, module) for each module directly inside; those in a list are `h.0`, `h.1`, ..."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, (list, tuple)):
                for i, item in enumerate(value):
                    if isinstance(item, Module):
                        yield f"{name}.{i}", item

    def named_modules(self, prefix=""):
        """Yield (name, module) for this module, called `prefix`, and all inside it, depth first."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(_join(prefix, name))

    def named_parameters(self):
        """Yield (name, parameter) in order of definition; one in two places comes once, by its first name."""
        yield from self._named(Parameter)

    def _named(self, kinds):
        seen = set()
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, kinds) and id(value) not in seen:
                    seen.add(id(value))
                    yield _join(prefix, name), value

    def parameters(self):
        """Return the parameters as a list, in the order of `named_parameters`."""
        return [p for _, p in self.named_parameters()]

    def num_parameters(self):
        """Count the numbers that training can change."""
        return sum(p.data.size for p in self.parameters())

    def state_dict(self):
        """Return {name: array} of all parameters and buffers. The arrays are theirs: copy what must last."""
        return {name: p.data for name, p in self._named((Parameter, Buffer))}

    def load_state_dict(self, state):
        """Copy {name: array} into parameters and buffers. All is checked first: a bad state changes nothing.

        Raises UserError naming the first that is missing, has another shape or another kind of numbers, or
        holds one that is not finite; or else the first name that the model does not have.
        """
        parameters = dict(self._named((Parameter, Buffer)))
        for name, p in parameters.items():
            if name not in state:
                raise UserError(f"the weights lack {name} {p.shape}; they belong to another model")
            _check_array(name, state[name], p)
        for name in state:
            if name not in parameters:
                raise UserError(
                    f"the weights hold {name}, which this model lacks; they belong to another model"
                )
        for name, p in parameters.items():
            p.data[...] = state[name]

    def train(self, training=True):
        """Switch this module and all inside it to training, where dropout acts; returns the module."""
        for _, module in self.named_modules():
            module.training = training
        return self

    def eval(self):
        """Switch this module and all inside it to evaluation, where nothing is random; returns the module."""
        return self.train(False)

    def dropout_stream(self, *key):
        """Name the random numbers of dropout: `model.dropout_stream(seed, step)` before each training step.

        Each dropout layer gets its own stream, `Random(*key, "dropout", the layer's name)`, and counts its
        draws from zero. So the masks of a step depend on seed, step and layer only: a resumed run draws
        the same ones, and each micro-batch of a step draws fresh ones. Processes that train side by side
        add their rank to the key.
        """
        for name, module in self.named_modules():
            if hasattr(module, "random"):
                module.random = Random(*key, "dropout", name)

    def flops(self, batch, context):
        """Count the floating-point operations of this module's own matrix products, as {what: number}.

        What its children do is theirs to count. A multiplication and an addition are two operations.
        """
        return {}


@contextmanager
def inference(module, modules=None):
    """Run a block without gradients and without dropout, then put every module back as it was.

    Who does so for every token passes `modules`, a list of all inside, so that it is made only once.
    """
    everything = (m for _, m in module.named_modules()) if modules is None else modules
    were_training = [m for m in everything if m.training]
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


def _check_array(name, array, p):
    array = np.asarray(array)
    if array.shape != p.shape:
        raise UserError(f"{name} has shape {array.shape} in the weights and {p.shape} in the model")
    if p.dtype.kind != "f" and array.dtype != p.dtype:
        raise UserError(f"{name} holds {array.dtype} in the weights, where {p.dtype} belongs")
    if p.dtype.kind == "f" and array.dtype.kind != "f":
        raise UserError(f"{name} holds {array.dtype} in the weights, where floating-point numbers belong")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UserError(f"{name} holds numbers that are not finite: these weights are broken")
    if isinstance(p, Buffer) and p.check:
        p.check(name, array)
