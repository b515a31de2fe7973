"""Divide the state of an optimizer, and its work, over the processes of a group: ZeRO, stage 1."""

from typing import Any

import numpy as np

from tinyllm.train.group import Group


class Zero:
    """Update each parameter in one process only, which alone keeps its moments; then all copy the weights.

    AdamW keeps two numbers for each weight. With N processes, each keeps about an N-th of them; weights and
    gradients stay whole. The weights have the bits of the undivided optimizer, such as an AdamW or a Muon,
    because parameters are updated independently. (Rajbhandari et al., "ZeRO", 2020, section 5.1.)
    """

    def __init__(self, optimizer: Any, group: Group):
        self.optimizer, self.group, self.lr = optimizer, group, optimizer.lr
        self.parameters, self.zero_grad = optimizer.parameters, optimizer.zero_grad
        self.shapes = {name: array.shape for name, array in optimizer.state_dict().items()}
        sizes, loads = [p.data.size for p in self.parameters], [0] * group.size
        self.owners = [0] * len(sizes)
        for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):  # the largest first, to the least loaded
            self.owners[i] = owner = loads.index(min(loads))
            loads[owner] += sizes[i]
        for name in optimizer.state:
            arrays = getattr(optimizer, name)
            for i, owner in enumerate(self.owners):
                if owner != group.rank:
                    arrays[i] = np.empty(0, arrays[i].dtype)

    def step(self, grad_scale: float = 1.0) -> None:
        """Update the parameters in their processes, and copy them to all others."""
        pairs = zip(self.parameters, self.owners, strict=True)
        updated = [(p, owner) for p, owner in pairs if p.grad is not None]
        for p, owner in updated:
            if owner != self.group.rank:
                p.grad = None  # the optimizer passes over it
        self.optimizer.lr = self.lr
        self.optimizer.step(grad_scale)
        for p, owner in updated:
            data = np.require(p.data, requirements=["C", "W"])  # a copy, if the weights are stored in 16 bits
            self.group.broadcast(data, owner)
            p.data = data

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the state of the undivided optimizer in process 0, and {} in others; all must call this."""
        state = {}
        for name, own in self.optimizer.state_dict().items():
            array = own if own.shape == self.shapes[name] else np.empty(self.shapes[name], own.dtype)
            number = name.partition(".")[2]  # of a parameter
            self.group.broadcast(array, self.owners[int(number)] if number else 0)
            if self.group.rank == 0:
                state[name] = array
        return state
