"""Record the forward pass on a tape, and compute gradients by going back over the records.

`tinyllm.tensor.record` makes the records. `gradients` does for arrays what `ops.backpropagate` does for
scalars. `run` calls an op on arrays of any dtype, although kernels take only float32.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.ops.shapes import FLOAT32


class Mode(threading.local):
    """Hold two settings per thread, so that one thread can generate while another trains.

    recording: False inside `no_grad`.
    remade: the outputs that the current `remaking` block will drop, or None outside of such a block.
    """

    recording: bool = True
    remade: "list[Any] | None" = None


mode = Mode()


@dataclass(eq=False, repr=False, slots=True)  # a repr would hold the whole graph
class Node:
    """The record of one step of the forward pass, from which the backward pass computes gradients.

    sources: for each input, the key under which its gradient is collected: (node, i) for output i of another
        step, (tensor, 0) for a leaf, None for a tensor without gradient.
    backward: turns gradients of outputs into gradients of inputs.
    outputs: (shape, dtype, value) of each output. Arrays are freed when no closure needs them; `value` is
        the element of an array with one element, for drawings of the graph, and else None.
    """

    sources: tuple
    backward: Callable | None
    outputs: tuple


def topological(root: Node) -> list[Node]:
    """List root and all nodes it depends on, so that every node comes after the nodes it depends on.

    A loop with its own stack does this, because a graph may be deeper than Python's recursion limit.
    """
    order: list[Node] = []
    seen, stack = set(), [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((s[0], False) for s in node.sources if s and isinstance(s[0], Node))
    return order


def gradients(y: Any, dy: np.ndarray, steps: dict[Node, list] | None = None) -> dict[Any, np.ndarray]:
    """Compute the gradients of all leaves from dy, the gradient of a tensor y -> {leaf: gradient}.

    Each gradient has the dtype of its tensor, also in a graph of mixed dtypes. The records are freed, unless
    `steps` is given: it collects the gradients of the outputs of each step.
    """
    grads: dict[Any, Any] = {y.source: dy}
    order = topological(y._node) if y._node else []
    while order:
        node = order.pop()
        if node.backward is None:
            raise RuntimeError("an earlier backward() has freed the graph: run the forward pass again")
        dys = [grads.pop((node, i), None) for i in range(len(node.outputs))]
        if any(d is not None for d in dys):
            dys = [np.zeros(shape, dtype) if d is None else d.astype(dtype, copy=False)
                   for d, (shape, dtype, _) in zip(dys, node.outputs, strict=True)]
            for source, dx in zip(node.sources, node.backward(*dys), strict=True):
                if source and dx is not None:
                    grads[source] = plus(grads[source], dx) if source in grads else dx
        if steps is None:
            node.sources, node.backward = (), None
        else:
            steps[node] = dys
    return {leaf: np.asarray(dx, leaf.dtype) for (leaf, _), dx in grads.items()}


def run(op: Any, *arrays: np.ndarray, **options: bool) -> Any:
    """Run an op on arrays of any dtype: by its specification unless all arrays are float32."""
    for x in arrays:
        if type(x) is not np.ndarray or (x.dtype is not FLOAT32 and x.dtype != FLOAT32):
            run_by = op if op.backend in ("numpy", "override") else op.specification
            return run_by(*map(np.asarray, arrays), **options)
    return op(*arrays, **options)


def plus(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Add two arrays: by the op `add` if they have one shape, else by NumPy, which broadcasts."""
    return run(ops.add, x, y) if x.shape == y.shape else x + y
