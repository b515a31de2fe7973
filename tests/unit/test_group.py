"""Train one model with several processes, played by threads: the bits are those of one process.

That every kind of run has these bits is a law of test_recipes.py.
"""

import itertools

import numpy as np
import pytest
from helpers import Threads, together
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import SETTINGS, outcome

from tinyllm import nn
from tinyllm.data import Batch
from tinyllm.errors import UserError
from tinyllm.rng import Random
from tinyllm.runs import Run, make_config, prepare, reopen
from tinyllm.train import ALONE, AdamW, Diverged, events, next_token, train
from tinyllm.train.loop import forward_backward

PIECES = 12


def run_by(group, folder, text, stop=lambda: False):
    """Train a run in a group, or go on with it -> all events."""
    run = Run(folder)
    if resume := run.holds_something():
        setup = reopen(run, run.read().config)
    else:
        pieces = {"train.batch": PIECES, "train.accumulate": PIECES, "train.clip": 0.5}
        setup = prepare(make_config(SETTINGS | pieces | {"data": str(text)}))
        group.once(lambda: run.create(setup.record(), setup.tokenizer))
    setup.group = group
    return list(setup.train(run, resume, stop))


def test_one_process_stops_all_and_another_number_goes_on(tmp_path, text):
    run_by(ALONE, tmp_path / "whole", text)
    for size, step in ((2, 3), (1, 6), (4, 9)):

        def stopped(group):
            fourth_call = itertools.chain([False] * 3, [group.rank == group.size - 1])
            return run_by(group, tmp_path / "changing", text, fourth_call.__next__)[-1]

        assert together(size, stopped) == [events.Stopped(step)] * size
    run_by(ALONE, tmp_path / "changing", text)
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
