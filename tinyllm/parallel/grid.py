"""Train one model on a grid of processes: copies of the model x parts of its layers x stages of its blocks.

Losses differ from those of one process only by rounding, where a sum is divided.
"""

import copy
import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.nn import DecoderLM, adapters
from tinyllm.nn.quantized import bits_of
from tinyllm.parallel.pipeline import Stage
from tinyllm.parallel.tensor import divide_layers, require_layers
from tinyllm.parallel.zero import Zero
from tinyllm.train import events
from tinyllm.train.group import Group
from tinyllm.train.loop import Loop, add_gradients, counted_pieces
from tinyllm.train.muon import Muon, orthogonalize
from tinyllm.train.objectives import next_token
from tinyllm.train.optimizer import gradient_norm


class Grid(Group):
    """All processes of a grid, and the three groups of this one: copies (data), parts (tensor) and stages.

    As in Megatron, neighbours share layers, then come the copies, then the stages. `setup` is a TrainSetup.
    Raises UserError if its settings need another number of processes, or its training cannot be divided.
    """

    copies = property(lambda self: self.data.size)

    def __init__(self, world: Group, setup: Any):
        self.settings = s = setup.config.parallel
        apart = s.tensor * s.pipeline  # how many processes divide a copy
        copies, self.divides = s.data or max(1, world.size // apart), apart > 1
        if (needed := copies * apart) != world.size:
            raise UserError(f"parallel.data={copies} x parallel.tensor={s.tensor} x parallel.pipeline="
                            f"{s.pipeline} is {needed}, and the number of processes is {world.size}: change "
                            f"these settings, or start mpiexec -n {needed}")
        if self.divides:
            require_divisible(setup)
        self.rank, self.size = world.rank, world.size
        vars(self).update(gather=world.gather, all_reduce=world.all_reduce, broadcast=world.broadcast)
        places = np.arange(world.size).reshape(s.pipeline, copies, s.tensor)
        p, d, t = (int(i[0]) for i in np.nonzero(places == world.rank))
        self.stages, self.data, self.parts = (
            world.part(ranks.tolist()) for ranks in (places[:, d, t], places[p, :, t], places[p, d]))


def require_divisible(setup: Any) -> None:
    """Raise UserError unless a grid can divide the training of a TrainSetup."""
    model, plan, layers = setup.model, setup.plan, setup.model.config.layers
    other = (plan.loop, plan.loss) != (Loop, next_token) or not isinstance(model, DecoderLM)
    for what, found in {"other aims than the next token": other, "private training": setup.private,
                        "adapters": adapters(model), "packed weights": bits_of(model),
                        "training with another clip_grads": ops.clip_grads.replaced}.items():
        if found:
            raise UserError(f"parallel.tensor and parallel.pipeline cannot divide {what}: use parallel.data")
    require_layers(model, setup.config.parallel.tensor)
    if (stages := setup.config.parallel.pipeline) > layers:
        raise UserError(f"{layers} layers do not suffice for parallel.pipeline={stages}: {layers} would")


class GridLoop(Loop):
    """A loop of which each process keeps and trains its own part of the model. Its group is a `Grid`.

    The whole model has its weights only inside `whole`, for evaluation, samples and checkpoints, which are
    those of one process. So a run goes on with any grid, or without.
    """

    def __post_init__(self):
        super().__post_init__()
        self.grid: Any = self.group
        settings, self.wholes = self.grid.settings, self.optimizer.parameters  # of the whole model
        self.shapes = {name: array.shape for name, array in self.optimizer.state_dict().items()}
        self.own, self.optimizer = copy.deepcopy((self.model, self.optimizer))
        self.stage = Stage(self.own, self.grid.stages, settings.schedule == "gpipe")
        cuts = divide_layers(self.own, self.grid.parts) if settings.tensor > 1 else {}
        here = set(map(id, self.own.parameters()))
        self.cuts = [cuts.get(id(p), ...) for p in self.optimizer.parameters]  # indices of the own parts
        self.counted = [  # if this process counts the parameter, so that each number is counted once
            id(p) in here and self.grid.data.rank == 0 and (id(p) in cuts or self.grid.parts.rank == 0)
            and (p is not self.stage.tied or self.stage.first) for p in self.optimizer.parameters]
        for i, p in enumerate(self.optimizer.parameters):
            cut = self.cuts[i] if id(p) in here else slice(0)
            for arrays in (getattr(self.optimizer, name) for name in self.optimizer.state):
                if arrays[i].shape == self.wholes[i].shape:  # Muon keeps less
                    arrays[i] = np.array(arrays[i][cut], order="C")
            p.data = p.data if id(p) in here else p.data[:0].copy()
        if isinstance(self.optimizer, Muon) and settings.tensor > 1:
            vars(self.optimizer)["orthogonalized"] = self.orthogonalized
        if settings.zero:
            self.optimizer = Zero(self.optimizer, self.grid.data)  # type: ignore[assignment]
        with self.whole():
            pass  # from now on, the whole model takes no memory

    def gradients(self, batch: Any) -> tuple[float, dict[str, float]]:
        """Add the gradients of a batch to the own parameters; return the mean loss."""
        self.own.train()
        pieces, total = counted_pieces(batch, self.accumulate)
        own = {i: pieces[i] for i in range(self.grid.data.rank, len(pieces), self.grid.copies)}
        losses = self.stage.gradients(own, total, (self.seed, self.progress.step))
        add_gradients(self.optimizer.parameters, self.grid.data)
        self.stage.add_tied()
        found = dict(pair for pairs in self.grid.gather(list(losses.items())) for pair in pairs)
        return sum(found[i] for i in sorted(found)), {}

    def gradient_norm(self) -> float:
        """Return the norm of the gradient of all parameters, of which each is counted once."""
        pairs = zip(self.optimizer.parameters, self.counted, strict=True)
        return math.hypot(*self.grid.gather(gradient_norm([p for p, counted in pairs if counted])))

    def orthogonalized(self, indices: list[int], matrices: list[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the parts of orthogonalised matrices for Muon, whose step needs whole matrices."""
        for i, part in zip(indices, matrices, strict=True):
            yield orthogonalize(self._join(i, self.wholes[i].shape, part, self.grid.parts))[self.cuts[i]]

    def _join(self, i, shape, part, group):
        """Return a whole array of parameter i, given its part here; x + -0.0 has the bits of x."""
        whole = np.full(shape, -0.0, np.float32)
        if part is not None and part.size:
            whole[self.cuts[i]] = part
        return group.all_reduce(whole)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Fill the whole model in all processes, inside a `with` block; then let it take no memory."""
        for i, p in enumerate(self.wholes):
            own = self.optimizer.parameters[i].data if self.counted[i] else None
            p.data = self._join(i, p.shape, own, self.grid)
        try:
            yield
        finally:
            for p in self.wholes:
                p.data = np.broadcast_to(np.float32(np.nan), p.shape)  # its use would be noticed

    def states(self) -> dict[str, dict[str, np.ndarray]]:
        """Return the states that a checkpoint saves, with that of the whole optimizer."""
        states = super().states()
        own, whole = states["optimizer"], {}
        for name, shape in self.shapes.items():
            if name != "steps":
                i = int(name.split(".")[1])
                whole[name] = self._join(i, shape, own.get(name) if self.counted[i] else None, self.grid)
        return states | {"optimizer": own | whole}

    def measure(self) -> events.Evaluated:
        """Evaluate the whole model, in all processes alike."""
        with self.whole():
            return super().measure()

    def write(self) -> Iterator[events.Sampled]:
        """Let the whole model write a sample."""
        with self.whole():
            yield from super().write()

    def save(self) -> None:
        """Write a checkpoint of the whole model and the whole optimizer."""
        with self.whole():
            super().save()


def arrange(setup: Any, world: Group) -> None:
    """Let the processes of a group train a TrainSetup on the grid that its settings ask for.

    Raises UserError if that cannot be: see `Grid`.
    """
    setup.group = Grid(world, setup)
    if setup.group.divides:
        setup.arrange = lambda loop: GridLoop(**{
            field.name: getattr(loop, field.name) for field in dataclasses.fields(loop)})
    elif setup.config.parallel.zero and world.size > 1:
        setup.arrange = lambda loop: dataclasses.replace(loop, optimizer=Zero(loop.optimizer, world))
