"""Check that every thing in a picture is recognised in every quarter, also through noise."""

import itertools

import numpy as np

from tinyllm.rng import Random
from tinyllm.world.names import COLOURS
from tinyllm.world.pictures import QUARTERS, SHAPES, recognise, render


def test_every_thing_is_recognised_in_every_quarter_through_noise():
    for i, (quarter, colour, shape) in enumerate(itertools.product(QUARTERS, COLOURS, SHAPES)):
        picture = render([[quarter, colour, shape]])
        noise = Random(i).integers(25, picture.shape) - 12
        assert recognise(picture) == [[quarter, colour, shape]]
        assert recognise(np.clip(picture + noise, 0, 255).astype(np.uint8)) == [[quarter, colour, shape]]
    assert recognise(render([])) == []
