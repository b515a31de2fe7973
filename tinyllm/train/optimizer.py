"""Implement AdamW and gradient clipping, with the state that an optimizer keeps between steps.

The arithmetic of AdamW is in `ops/optim.py`.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.nn.init import Parameter


class AdamW:
    """Move every weight against its mean gradient, divided by the gradient's root mean square.

    Adam keeps two running means for every weight: `m` of its gradient and `v` of its squared gradient.
    (Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019.)

    `parameters` is an iterable of Parameters, or of groups such as `{"params": [...], "weight_decay": 0.1}`.
    A group without a weight decay uses the argument `weight_decay`. `lr` may change before every step.
    """

    state: tuple[str, ...] = ("m", "v")  # the names of lists of arrays, one array for each parameter

    def __init__(self, parameters: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.01):
        kind = type(self).__name__
        if hasattr(parameters, "parameters"):
            raise TypeError(f"{kind} takes model.parameters(), not the model")
        groups = list(parameters)
        if not (groups and isinstance(groups[0], dict)):
            groups = [{"params": groups}]
        self.lr, self.betas, self.eps = lr, betas, eps
        pairs = [(p, group) for group in groups for p in group["params"]]
        self.parameters = [p for p, _ in pairs]
        self.weight_decays = [group.get("weight_decay", weight_decay) for _, group in pairs]
        if not pairs:
            raise ValueError(f"{kind} got no parameters; pass model.parameters(), whose tensors must be "
                             "nn.Parameter, and not all frozen")
        self.m, self.v = ([np.zeros_like(p.data) for p in self.parameters] for _ in range(2))
        self.steps = 0

    def step(self, grad_scale: float = 1.0) -> None:
        """Update every parameter that has a gradient, in place; gradients are multiplied by `grad_scale`."""
        self.steps += 1
        for i, p in enumerate(self.parameters):
            if p.grad is not None:
                self.update(i, p, grad_scale)

    def update(self, i: int, p: Any, grad_scale: float) -> None:
        """Update parameter number i in place."""
        numbers = self.steps, self.lr, *self.betas, self.eps, self.weight_decays[i], grad_scale
        ops.adamw_step(p.data, p.grad, self.m[i], self.v[i], *numbers)

    def zero_grad(self) -> None:
        """Set the gradients to None, so that the next backward pass starts from zero."""
        for p in self.parameters:
            p.grad = None

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the optimizer's state as arrays: {"steps": (), "m.0": ..., ...}."""
        state = {"steps": np.array(self.steps, np.int64)}
        for i in range(len(self.parameters)):
            state |= {f"{name}.{i}": getattr(self, name)[i] for name in self.state}
        return state

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Load a state that `state_dict` returned. Raises UserError when it belongs to other parameters."""
        expected = self.state_dict()
        for name in expected | state:
            own, stored = (f"{found[name].dtype} {found[name].shape}" if name in found else "missing"
                           for found in (expected, state))
            if stored != own:
                raise UserError(f"optimizer state {name} is {stored}, and the optimizer's is {own}; "
                                "make the optimizer from the same model")
        self.steps = int(state["steps"])
        for name in self.state:
            setattr(self, name, [np.array(state[f"{name}.{i}"]) for i in range(len(self.parameters))])


class MasterAdamW(AdamW):
    """Move float32 copies of the weights, the *masters*, and assign them to the weights, which may round.

    Steps that are too small for weights of 16 bits add up in the masters. (Micikevicius et al., "Mixed
    Precision Training", 2018, section 3.1.)
    """

    state = (*AdamW.state, "w")

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.w = [np.array(p.data) for p in self.parameters]

    def update(self, i: int, p: Any, grad_scale: float) -> None:
        """Update master number i in place, and assign it to the parameter."""
        master = Parameter(self.w[i])
        master.grad = p.grad
        super().update(i, master, grad_scale)
        p.data = master.data


def decay_groups(parameters: Iterable[Any], weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters into groups for `AdamW`: matrices have weight decay, vectors have none.

    Decay keeps the products with matrices small. Biases and norm weights need none, and pulling them to zero
    hurts (Brown et al., GPT-3, 2020, appendix B; nanoGPT).
    """
    parameters = list(parameters)
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def gradient_norm(parameters: Iterable[Any]) -> float:
    """Return the Euclidean norm of all gradients, taken as one vector."""
    return float(ops.grad_norm([p.grad for p in parameters if p.grad is not None]))


def clip_grad_norm(parameters: Iterable[Any], limit: float) -> float:
    """Scale the whole gradient down to length `limit` if it is longer; return its original length.

    So a single unusual batch cannot damage the model: the direction stays, the length is limited (Pascanu et
    al., On the difficulty of training recurrent neural networks, 2013). With `limit=0` nothing is scaled.
    Raises ValueError when the limit is negative.
    """
    with_grad = [p for p in parameters if p.grad is not None]
    norm = gradient_norm(with_grad)
    if limit:
        for p, grad in zip(with_grad, ops.clip_grads([p.grad for p in with_grad], norm, limit), strict=True):
            p.grad = grad
    return norm


def clipped_step(optimizer: AdamW, norm: float, limit: float) -> None:
    """Do one optimizer step with the gradients, of length `norm`, clipped to `limit` (0: not clipped).

    The step scales the gradients while it reads them. If ops.clip_grads is replaced, the replacement clips.
    """
    if ops.clip_grads.replaced:
        clip_grad_norm(optimizer.parameters, limit)
        optimizer.step()
    else:
        optimizer.step(float(limit) / norm if norm > limit > 0 else 1.0)
