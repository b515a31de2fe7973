"""Divide the blocks of a model over stages, processes that pass activations on like an assembly line.

While a stage computes one piece of a batch, the next stage computes the piece before. `ops.pipeline_order`
says when a stage computes which piece.
"""

from collections.abc import Callable
from typing import Any

from tinyllm import nn, ops
from tinyllm.parallel.tensor import NORMS, TABLES
from tinyllm.tensor import Tensor
from tinyllm.train.objectives import next_token


class Skipped(nn.Module):
    """Return the input, in place of a part that another stage computes."""

    def forward(self, x: Tensor, *more: Any) -> Tensor:
        return x


class Stage:
    """Compute the part of one stage of a model, which is changed in place.

    The first stage has the embeddings, the last one the output layer. If these share a weight, both stages
    have it, and add their gradients.
    """

    def __init__(self, model: Any, group: Any, gpipe: bool):
        self.model, self.group, self.gpipe = model, group, gpipe
        self.first, self.last = group.rank == 0, group.rank == group.size - 1
        self.received: Any = None  # what the stage before has sent
        self.sends: list[Callable[[], Any]] = []  # functions that wait until something was sent
        layers = model.config.layers
        own = range(layers * group.rank // group.size, layers * (group.rank + 1) // group.size)
        tied = any(part.weight is model.lm_head.weight for part in model.of_kind(nn.Embedding).values())
        self.tied = model.lm_head.weight if tied and self.first != self.last else None
        blocks = [type(part) for name, part in model.named_modules() if name.split(".")[-1].isdigit()]

        def chosen(name, part):
            here = self.first if isinstance(part, nn.Embedding) else self.last
            for word in filter(str.isdigit, name.split(".")):
                here = int(word) in own
            return part if here else Skipped()

        nn.replace(model, (*TABLES, *NORMS, *blocks), chosen)
        if not self.first:
            vars(model)["embed"] = lambda tokens, positions: self.received
        if not self.last:
            vars(model)["loss"] = lambda tokens, targets, weights=None, **seen: model.hidden(tokens, **seen)

    def gradients(self, pieces: dict[int, Any], total: float, key: tuple) -> dict[int, float]:
        """Add the gradients of pieces {number: piece} of a batch -> {number: loss}, {} before the last stage.

        total: the count of the whole batch. key: see `forward_backward`.
        """
        numbers, losses = list(pieces), {}
        waiting: dict[int, tuple[Any, Tensor]] = {}
        for step in ops.pipeline_order(self.group.size, len(pieces), self.gpipe)[self.group.rank].tolist():
            number = numbers[abs(step) - 1]
            if step > 0:
                self.model.dropout_stream(*key, piece=number)
                waiting[number] = self.forward(pieces[number], total)
            else:
                x, y = waiting.pop(number)
                self.backward(x, y)
                if self.last:
                    losses[number] = y.item()
        while self.sends:
            self.sends.pop()()
        return losses

    def forward(self, piece: Any, total: float) -> tuple[Any, Tensor]:
        """Compute a piece, and send the output on if there is a next stage -> input, and output or loss."""
        if not self.first:
            shape = (*piece.tokens.shape, self.model.config.width)
            self.received = Tensor(self.group.receive(shape, self.group.rank - 1), requires_grad=True)
        y = next_token(self.model, piece)
        if self.last:
            return self.received, y * (piece.count / total)
        self.sends.append(self.group.send(y.data, self.group.rank + 1))
        return self.received, y

    def backward(self, x: Any, y: Tensor) -> None:
        """Add the gradients of a piece, given its input and output, and send that of the input back."""
        y.backward(None if self.last else self.group.receive(y.shape, self.group.rank + 1))
        if not self.first:
            self.sends.append(self.group.send(x.grad, self.group.rank - 1))

    def add_tied(self) -> None:
        """Add the gradients that the first and the last stage have of the weight that they share."""
        if self.tied is not None:
            other = self.group.size - 1 if self.first else 0
            wait = self.group.send(self.tied.grad, other)
            self.tied.grad = self.tied.grad + self.group.receive(self.tied.shape, other)
            wait()
