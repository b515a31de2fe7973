"""Divide the state of an optimizer, and its work, over the processes of a group: ZeRO, stage 1."""

from typing import Any

import numpy as np

from tinyllm.train.group import Group


class Zero:
    """Update each parameter in one process only, which alone keeps its moments; then all copy the weights.

    AdamW keeps two numbers for each weight. With N processes, each keeps about an N-th of them; weights and
    gradients stay whole. The weights have the bits of the undivided optimizer, an AdamW or a Muon, because
    parameters are updated independently. (Rajbhandari et al., "ZeRO", 2020, section 5.1.)
    """

    def __init__(self, optimizer: Any, group: Group):
        self.optimizer, self.group = optimizer, group
        self.whole = {name: array.shape for name, array in optimizer.state_dict().items()}
        sizes, loads = [p.data.size for p in optimizer.parameters], [0] * group.size
        self.owners = [0] * len(sizes)
        for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):  # the largest first, to the least loaded
            self.owners[i] = owner = loads.index(min(loads))
            loads[owner] += sizes[i]
        self._drop()

    parameters = property(lambda self: self.optimizer.parameters)

    @property
    def lr(self) -> float:
        """Return or set the learning rate of the optimizer."""
        return self.optimizer.lr

    @lr.setter
    def lr(self, rate: float) -> None:
        self.optimizer.lr = rate

    def step(self, grad_scale: float = 1.0) -> None:
        """Update the parameters in their processes, and copy them to all others."""
        pairs = zip(self.parameters, self.owners, strict=True)
        updated = [(p, owner) for p, owner in pairs if p.grad is not None]
        for p, owner in updated:
            if owner != self.group.rank:
                p.grad = None  # the optimizer passes over it
        self.optimizer.step(grad_scale)
        for p, owner in updated:
            self.group.broadcast(p.data, owner)

    def zero_grad(self) -> None:
        """Set the gradients to None."""
        self.optimizer.zero_grad()

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the state of the undivided optimizer in process 0, and {} in others; all must call this."""
        state = {}
        for name, array in self.optimizer.state_dict().items():
            if array.shape != self.whole[name]:  # it is kept elsewhere
                array = np.empty(self.whole[name], array.dtype)
            if name != "steps":
                self.group.broadcast(array, self.owners[int(name.split(".")[1])])
            if self.group.rank == 0:
                state[name] = array
        return state

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Load a whole state, and keep the part of this process. Raises UserError if it does not fit."""
        for name in self.optimizer.state:
            arrays = [np.zeros(self.whole[f"{name}.{i}"], p.dtype) for i, p in enumerate(self.parameters)]
            setattr(self.optimizer, name, arrays)
        self.optimizer.load_state_dict(state)
        self._drop()

    def _drop(self):
        """Replace the moments that other processes keep by empty arrays."""
        for arrays in (getattr(self.optimizer, name) for name in self.optimizer.state):
            arrays[:] = [array if owner == self.group.rank else np.empty(0, array.dtype)
                         for array, owner in zip(arrays, self.owners, strict=True)]
