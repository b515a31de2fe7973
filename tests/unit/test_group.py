"""Several processes train one model with the bits of one process; threads stand for the processes."""

import concurrent.futures
import itertools
import queue

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import SETTINGS, outcome, write_text

from tinyllm import nn
from tinyllm.data import Batch
from tinyllm.errors import UserError
from tinyllm.rng import Random
from tinyllm.runs import Run, make_config, prepare, reopen
from tinyllm.train import ALONE, AdamW, Diverged, Group, events, next_token, train
from tinyllm.train.loop import forward_backward

PIECES = 12
SMALL = {name: value for name, value in SETTINGS.items() if name != "model.dropout"}
SMALL |= {"train.batch": PIECES, "train.accumulate": PIECES, "train.clip": 0.5, "train.eval_windows": 2}
DROPOUT = {"model.dropout": 0.1}
GATED = {"model.attention_dropout": 0.1, "model.hidden": 16, "model.kv_heads": 2}
FAMILIES = {"gpt2": DROPOUT, "llama": GATED, "t5": DROPOUT}
ALL = {events.Started, events.Stepped, events.Evaluated, events.Sampled, events.Logged, events.Saved}


class Threads(Group):
    """A group whose processes are threads; queues[i][k] has what process i gets from process k."""

    def __init__(self, rank, queues):
        self.rank, self.size, self.queues = rank, len(queues), queues

    def gather(self, value):
        for received in self.queues:
            received[self.rank].put(value)
        return [sent.get(timeout=20) for sent in self.queues[self.rank]]  # raises Empty if one has failed

    def total(self, numbers):
        first, *others = self.gather(numbers)
        return sum(others, first)


def together(size, work):
    """Call work(group) in each process of a group, and return all results."""
    queues = [[queue.SimpleQueue() for _ in range(size)] for _ in range(size)]
    with concurrent.futures.ThreadPoolExecutor(size) as pool:
        return list(pool.map(lambda rank: work(Threads(rank, queues)), range(size)))


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return str(write_text(tmp_path_factory.mktemp("text") / "text.txt"))


def run_by(group, folder, settings, stop=lambda: False):
    """Train a run in a group, or go on with it -> all events."""
    run = Run(folder)
    resume = run.holds_something()
    setup = reopen(run, run.read().config) if resume else prepare(make_config(SMALL | settings))
    if not resume:
        group.once(lambda: run.create(setup.record(), setup.tokenizer))
    setup.group = group
    return list(setup.train(run, resume, stop))


@pytest.mark.parametrize("family, optimizer",
                         [*itertools.product(FAMILIES, ["adamw"]), ("llama", "muon")])
def test_any_number_of_processes_writes_the_bits_of_one(tmp_path, text, family, optimizer):
    settings = {"data": text, "model.type": family, "train.optimizer": optimizer} | FAMILIES[family]
    settings |= {"train.steps": 4, "train.eval_every": 2}
    for size in (1, 2, 3, 4):
        happened = together(size, lambda group: run_by(group, tmp_path / str(group.size), settings))
        kinds = [{type(event) for event in each} for each in happened]
        assert kinds == [ALL, *[ALL - {events.Sampled, events.Saved}] * (size - 1)]
        assert outcome(tmp_path / str(size)) == outcome(tmp_path / "1")


def test_one_process_stops_all_and_another_number_goes_on(tmp_path, text):
    settings = {"data": text, "model.type": "gpt2"} | DROPOUT
    run_by(ALONE, tmp_path / "whole", settings)
    for size, step in ((2, 3), (3, 6), (4, 9)):

        def stopped(group):
            fourth_call = itertools.chain([False] * 3, [group.rank == group.size - 1])
            return run_by(group, tmp_path / "changing", settings, fourth_call.__next__)[-1]

        assert together(size, stopped) == [events.Stopped(step)] * size
    run_by(ALONE, tmp_path / "changing", settings)
    assert outcome(tmp_path / "changing") == outcome(tmp_path / "whole")


class Partly(nn.Module):
    """A model with a parameter that only some rows use, and one that nothing uses."""

    def __init__(self):
        self.table, self.rare, self.unused = (nn.Embedding(11, 11) for _ in range(3))
        self.drop = nn.Dropout(0.3)

    def forward(self, tokens):
        x = self.table(tokens)
        return self.drop(x + self.rare(tokens) if (tokens == 3).any() else x)


def a_batch(rows, seed):
    """Some rows, many of whose targets do not count."""
    x, y = Random(seed).integers(11, (2, rows, 4)).astype(np.int32)
    y[Random(seed, "hidden").uniform(y.shape) < 0.5] = -100
    y[0, 0] = 1
    return Batch(x, y)


@given(st.sampled_from([2, 3, 4]), st.integers(1, 17), st.integers(0, 99))
def test_uneven_pieces_have_the_gradients_of_one_process(size, rows, seed):
    """Also if a process has no piece, or a parameter gets a gradient in some pieces only, or in none."""

    def loss(model, batch):
        return next_token(model, batch), {"read": batch.tokens.sum()}

    def gradients(group):
        model = Partly()
        model.rare.weight.grad = np.full((11, 11), -0.0, np.float32)  # is kept where nothing is added
        found = forward_backward(model, a_batch(rows, seed), loss, PIECES, group, (seed, 7))
        return found, [p.grad is not None and p.grad.tobytes() for p in model.parameters()]

    expected = gradients(ALONE)
    assert expected[1][2] is False and together(size, gradients) == [expected] * size


class Counting(Partly):
    """A model that counts, without gradients, how often it has read each token."""

    def __init__(self):
        super().__init__()
        self.new, self.read = np.zeros(11, int), np.zeros(11, int)

    def forward(self, tokens):
        self.new = self.new + np.bincount(tokens.ravel(), minlength=11)
        return super().forward(tokens)

    def after_step(self, group):
        self.read, self.new = self.read + sum(group.gather(self.new)), np.zeros(11, int)


def test_what_is_learnt_without_gradients_counts_the_pieces_of_all_processes():
    def counted(group):
        model, batch = Counting(), a_batch(12, 1)
        list(train(model, lambda step: batch, next_token, AdamW(model.parameters()), steps=2,
                   accumulate=PIECES, group=group))
        return model.read.tolist()

    expected = counted(ALONE)
    assert sum(expected) > 40 and together(3, counted) == [expected] * 3


def test_a_loss_that_is_not_finite_in_one_process_stops_all_at_one_step():
    def diverged(group):
        calls = itertools.count()

        def loss(model, batch):
            broken = group.rank == 1 and next(calls) == 5  # in the second step
            return next_token(model, batch) * (float("nan") if broken else 1.0)

        model = Partly()
        loop = train(model, lambda step: a_batch(12, 1), loss, AdamW(model.parameters()), steps=3,
                     accumulate=PIECES, group=group)
        with pytest.raises(Diverged, match="at step 2"):
            list(loop)

    together(3, diverged)
    with pytest.raises(UserError, match=r"12 pieces.*none for some of 13 processes: start at most 12"):
        diverged(Threads(0, [()] * 13))
