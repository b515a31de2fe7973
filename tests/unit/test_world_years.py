"""Texts about an early year, in which some people are children: without a job, a possession or a partner."""

import pytest

from tinyllm.rng import Random
from tinyllm.world import KINDS, World

EARLY = World(size=60, year=60)
GROUPS = ("translation", "pictures", "understanding", "dialogue")


@pytest.mark.parametrize("name", [kind.name for kind in KINDS.values() if kind.group in GROUPS])
def test_an_early_year_has_texts_with_known_truth(name):
    kind = KINDS[name]
    for i in range(60):
        document = kind(EARLY, Random(i))
        assert kind.read(EARLY, document.text) == document
        assert kind.solve(EARLY, document) == document.truth
