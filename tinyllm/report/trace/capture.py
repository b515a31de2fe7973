"""Capture a forward pass: record every op with its module, inputs and outputs.

During a capture, `registry.watch` wraps every op, and `nn.passes.around` wraps every part of the model, which
also turns off fusing. Afterwards the model is as before. The result is a tree of calls: below a part are the
parts and ops that it called, and below an op are the ops that its NumPy specification called.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from tinyllm.nn import Module, inference
from tinyllm.nn.passes import around
from tinyllm.ops.registry import watch
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

    def ops(self) -> Iterator["TracedCall"]:
        """Yield the ops that the model called, but not the ops that other ops called."""
        for step in self.steps:
            yield from [step] if step.op else step.ops()

    def parts(self) -> Iterator["TracedCall"]:
        """Yield the calls of parts of the model, this one included; inner parts come before outer parts."""
        for step in self.steps:
            yield from step.parts()
        if self.op is None:
            yield self

    @property
    def is_block(self) -> bool:
        """Return True for a call of a layer, such as h.0 or model.layers.0."""
        names = self.path.split(".")
        return self.op is None and names[-1].isdigit() and not any(n.isdigit() for n in names[:-1])


@contextmanager
def capture(model: Module) -> Iterator[TracedCall]:
    """Record what a model runs in a `with` block; the tree of `TracedCall` is complete when the block ends.

    Only one capture can run at a time, and nothing else may run ops meanwhile.
    """
    root = TracedCall("", None)
    open_calls = [root]

    def begin(path, op=None, backend=""):
        step = TracedCall(path, op, backend=backend)
        open_calls[-1].steps.append(step)
        open_calls.append(step)
        return step

    def around_op(op, run, *args, **kwargs):
        step = begin(open_calls[-1].path, op.__name__, op.backend)
        result = run(*args, **kwargs)
        open_calls.pop()
        bound = op.__signature__.bind(*args, **kwargs)
        bound.apply_defaults()
        step.inputs = tuple(bound.arguments.values())
        step.outputs = result if isinstance(result, tuple) else (result,)
        step.flops = op.count_flops(bound.arguments, result)
        return result

    def around_part(path, call, part, *args, **kwargs):
        step = begin(path)
        y = call(*args, **kwargs)
        open_calls.pop()
        step.inputs = tuple(a.data if isinstance(a, Tensor) else a for a in args)
        step.outputs = (y.data,)
        return y

    hooks = [(part, part.hooks) for _, part in model.named_modules()]
    try:
        for path, part in list(model.named_modules()):
            around(part, partial(around_part, path))
        with watch(around_op):
            yield root
    finally:
        for part, before in hooks:
            part.hooks = before


def observe(model: Module, ids: list[int]) -> TracedCall:
    """Record one forward pass over token ids, with all its ops."""
    with inference(model), capture(model) as root:
        model(np.array([ids]))
    return root
