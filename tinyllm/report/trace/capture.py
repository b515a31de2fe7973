"""Capture a forward pass: record every op with its module, inputs and outputs.

During a capture, `registry.watch` wraps every op, and `nn.passes.around` wraps every part of the model, which
also turns off fusing. Afterwards the model is as before. The result is a tree of calls: below a part are the
parts and ops that it called, and below an op are the ops that its NumPy specification called.
"""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinyllm.nn import Module, inference
from tinyllm.nn.passes import around
from tinyllm.ops.registry import OPS, watch
from tinyllm.tensor import Tensor


@dataclass
class TracedCall:
    """A call of an op, or of a part of the model (then `op` is None); `steps` has the calls inside this call.

    `path` is the part's name, such as h.0.attn. `inputs` has all arguments, also flags and counts; `outputs`
    has all results.
    """

    path: str
    op: str | None
    inputs: tuple = ()
    outputs: tuple = ()
    steps: list = field(default_factory=list)
    flops: int = 0  # of an op
    backend: str = ""  # what ran the op: compiled, numpy, bf16 or override

    @property
    def shapes(self) -> tuple:
        """Return the shapes of the inputs that are arrays."""
        return tuple(a.shape for a in self.inputs if isinstance(a, np.ndarray))

    @property
    def shape(self) -> tuple:
        """Return the shape of the first output."""
        return np.shape(self.outputs[0])

    @property
    def is_product(self) -> bool:
        """Return True if the step is a matrix product or attention."""
        return self.op is not None and callable(OPS[self.op].flops)

    def walk(self) -> Iterator["TracedCall"]:
        """Yield all steps inside this step, then this step; inner steps come before outer steps."""
        for step in self.steps:
            yield from step.walk()
        yield self

    def ops(self) -> Iterator["TracedCall"]:
        """Yield the ops that the model called, but not the ops that other ops called."""
        for step in self.steps:
            if step.op:
                yield step
            else:
                yield from step.ops()

    def parts(self) -> list["TracedCall"]:
        """Return the steps that are calls of parts of the model, inner parts first."""
        return [step for step in self.walk() if step.op is None]

    @property
    def is_block(self) -> bool:
        """Return True for a call of a layer, such as h.0 or model.layers.0."""
        names = self.path.split(".")
        return self.op is None and names[-1].isdigit() and not any(n.isdigit() for n in names[:-1])

    @property
    def in_block(self) -> bool:
        """Return True for a call of a layer, or of anything inside a layer."""
        return any(name.isdigit() for name in self.path.split("."))


class _Recorder:
    """Build the tree of steps from all calls in the thread that captures; ignore other threads."""

    def __init__(self):
        self.root = TracedCall("", None)
        self.open = [self.root]
        self.thread = threading.get_ident()

    def around(self, op, run, *args, **kwargs):
        """Record the call of an op: see `registry.watch`."""
        if threading.get_ident() != self.thread:
            return run(*args, **kwargs)
        with self.inside(TracedCall(self.open[-1].path, op.__name__, backend=op.backend)) as step:
            result = run(*args, **kwargs)
        bound = op.__signature__.bind(*args, **kwargs)
        bound.apply_defaults()
        step.inputs = tuple(bound.arguments.values())
        step.outputs = result if isinstance(result, tuple) else (result,)
        step.flops = op.count_flops(bound.arguments, result)
        return result

    def around_part(self, path: str, call: Callable, part: Module, *args, **kwargs) -> Any:
        """Record the call of a part of the model."""
        if threading.get_ident() != self.thread:
            return call(*args, **kwargs)
        with self.inside(TracedCall(path, None)) as step:
            y = call(*args, **kwargs)
        step.inputs = tuple(a.data if isinstance(a, Tensor) else a for a in args)
        step.outputs = (y.data,)
        return y

    @contextmanager
    def inside(self, step):
        """Add a step to the innermost open step, and open it for the `with` block."""
        self.open[-1].steps.append(step)
        self.open.append(step)
        try:
            yield step
        finally:
            self.open.pop()


@contextmanager
def capture(model: Module) -> Iterator[TracedCall]:
    """Record what a model runs in a `with` block; the tree of `TracedCall` is complete when the block ends.

    Only one capture can run at a time; models in other threads are ignored.
    """
    recorder = _Recorder()
    hooks = [(part, part.hooks) for _, part in model.named_modules()]
    try:
        for path, part in list(model.named_modules()):
            around(part, functools.partial(recorder.around_part, path))
        with watch(recorder.around):
            yield recorder.root
    finally:
        for part, before in hooks:
            part.hooks = before


def observe(model: Module, ids: list[int]) -> TracedCall:
    """Record one forward pass over token ids, with all its ops."""
    with inference(model), capture(model) as root:
        model(np.array([ids]))
    return root
