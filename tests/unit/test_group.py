"""Train one model with several processes, played by threads: the bits are those of one process.

That every kind of run has these bits is a law of test_recipes.py.
"""

import itertools

import numpy as np
import pytest
from helpers import Threads, together
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import new_training, outcome

from tinyllm import nn
from tinyllm.data import Batch
from tinyllm.errors import UserError
from tinyllm.rng import Random
from tinyllm.runs import reopen
from tinyllm.train import ALONE, AdamW, events, next_token, train
from tinyllm.train.loop import forward_backward

PIECES = 12


def test_one_process_stops_all_and_another_number_goes_on(tmp_path, text):
    pieces = {"train__batch": PIECES, "train__accumulate": PIECES, "train__clip": 0.5}
    list(new_training(tmp_path / "whole", text, **pieces))
    run = new_training(tmp_path / "changing", text, **pieces).run
    for size, stops in ((2, 3), (1, 3), (4, 3), (1, 99)):

        def work(group, stops=stops):
            setup = reopen(run, run.read().config)
            setup.group = group
            asked = itertools.chain([False] * stops, [group.rank == group.size - 1])
            return list(setup.train(run, resume=True, stop=asked.__next__))[-1]

        ends = together(size, work)
        assert stops == 99 or ends == [events.Stopped(ends[0].step)] * size
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


def test_a_group_that_has_more_processes_than_pieces_is_refused():
    model = Partly()
    with pytest.raises(UserError, match=r"12 pieces.*none for some of 13 processes: start at most 12"):
        train(model, None, next_token, AdamW(model.parameters()), steps=3, accumulate=PIECES,
              group=Threads(0, [()] * 13))
