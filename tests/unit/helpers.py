"""Share among tests: errors of gradients, refusals, a small model, a terminal and a group of threads."""

import concurrent.futures
import io
import itertools
import queue

import numpy as np
import pytest

import tinyllm as tl
import tinyllm.functional as F
from tinyllm import nn
from tinyllm.parallel.grid import arrange
from tinyllm.runs import reopen
from tinyllm.train import Group


def gradient_error(f, *inputs, step=1e-5):
    """Return the relative error of the gradient along one random direction."""
    rng, y = tl.Random("direction"), f(*inputs)
    weights = rng.normal(y.shape).astype(np.float64)
    y.backward(weights)
    direction = [rng.normal(x.shape).astype(np.float64) for x in inputs]

    def loss(h):
        moved = (tl.Tensor(x.data + h * d) for x, d in zip(inputs, direction, strict=True))
        return (f(*moved).data * weights).sum()

    assert all(x.grad.shape == x.shape and x.grad.dtype == np.float64 for x in inputs)
    slope = (loss(step) - loss(-step)) / (2 * step)
    along = sum((x.grad * d).sum() for x, d in zip(inputs, direction, strict=True))
    return abs(along - slope) / max(abs(along), abs(slope), 1e-9)


def refuses(message, call, *args, error=tl.UserError, **named):
    """Check that a call is refused in one printable line in which a pattern is found; return the line."""
    with pytest.raises(error, match=message or None) as caught:
        call(*args, **named)
    assert str(caught.value).isprintable()
    return str(caught.value)


class MLP(nn.Module):
    def __init__(self):
        self.fc = nn.Linear(2, 16)
        self.out = nn.Linear(16, 1)

    def forward(self, x):
        return self.out(F.relu(self.fc(x)))


class Screen(io.StringIO):
    """A text stream that claims to be a terminal."""

    encoding = "utf-8"

    def isatty(self):
        return True


class Threads(Group):
    """A group whose processes are threads; queues[i][k] holds what process k has sent to process i."""

    def __init__(self, rank, queues):
        self.rank, self.size, self.queues = rank, len(queues), queues

    def gather(self, value):
        for received in self.queues:
            received[self.rank].put(value)
        return [sent.get(timeout=300) for sent in self.queues[self.rank]]  # Empty if a process failed

    def all_reduce(self, numbers):
        first, *others = self.gather(numbers)
        return sum(others, first)

    def broadcast(self, numbers, rank):
        numbers[...] = self.gather(numbers.copy())[rank]

    def send(self, numbers, rank):
        self.queues[rank][self.rank].put(numbers)
        return lambda: None

    def receive(self, shape, rank):
        numbers = self.queues[self.rank][rank].get(timeout=300)
        assert (numbers.shape, numbers.dtype) == (shape, np.float32)
        return numbers

    def part(self, ranks):
        return Threads(ranks.index(self.rank), self.gather(new_queues(len(ranks)))[ranks[0]])


def new_queues(size):
    return [[queue.SimpleQueue() for _ in range(size)] for _ in range(size)]


def together(size, work):
    """Call work(group) in each process of a group, and return all results."""
    queues = new_queues(size)
    with concurrent.futures.ThreadPoolExecutor(size) as pool:
        return list(pool.map(lambda rank: work(Threads(rank, queues)), range(size)))


def train_in(group, folder, settings, stops=10**9):
    """Begin or resume a run as a process of a group; end after `stops` steps more -> the loop.

    A run that is resumed takes the settings parallel.* only.
    """
    run, steps = tl.Run(folder), itertools.count()
    resume = run.file.exists()
    told = {name: x for name, x in settings.items() if name.startswith("parallel.")}
    config = tl.make_config(run.read().config.flat() | told if resume else settings)
    setup = reopen(run, config) if resume else tl.prepare(config)
    arrange(setup, group)
    group.gather(None)  # all have looked for the run's file
    if group.rank == 0 and not resume:
        run.create(setup.record(), setup.tokenizer)
    group.gather(None)
    loop = setup.train(run, resume, stop=lambda: next(steps) >= stops)
    list(loop)
    return loop
