"""Keep only the inputs of a function, and call it again in the backward pass (gradient checkpointing)."""

from collections.abc import Callable, Iterable

from tinyllm.tape import gradients, recording
from tinyllm.tensor import Tensor, no_grad, record


def checkpoint(fn: Callable, *inputs: Tensor, params: Iterable[Tensor] = ()) -> Tensor:
    """Compute fn(*inputs), keep only the inputs, and compute fn again in the backward pass.

    This saves memory and costs time. fn maps Tensors to one Tensor and must return the same bits when called
    again, so random numbers must be among its inputs. `params` lists all other tensors that fn uses and that
    need gradients, such as a block's parameters. Raises RuntimeError if one is missing from the list: at once
    if no listed tensor needs a gradient, else in the backward pass. Source: Chen et al., "Training Deep Nets
    with Sublinear Memory Cost", 2016.
    """
    params = tuple(params)
    if not any(x.requires_grad for x in inputs + params):  # then fn must record nothing
        y = fn(*inputs)
        if y.requires_grad:
            raise RuntimeError("checkpoint: fn uses leaves that need a gradient: list them in params=")
        return y
    with no_grad():
        y = fn(*inputs).data

    def backward(dy):
        leaves = tuple(Tensor(x.data, x.requires_grad) for x in inputs)  # leaves of a separate graph
        with recording(True):
            again = fn(*leaves)
        grads = gradients(again, dy) if again.requires_grad else {}
        dxs = tuple(grads.pop(leaf, None) for leaf in leaves + params)
        if grads:
            shapes = ", ".join(str(leaf.shape) for leaf in grads)
            raise RuntimeError(f"checkpoint: fn also uses leaves of shape {shapes}: list them in params=")
        return dxs

    return record(y, inputs + params, backward)
