"""Compare the numbers of lm-eval with those of `tinyllm eval`, on the same items, without a download."""

import sys
from pathlib import Path

import pytest

import tinyllm as tl

pytest.importorskip("lm_eval")
pytest.importorskip("datasets")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


def test_multiple_choice_has_exactly_the_numbers_of_lm_eval():
    """The choices of entailment differ in length, so that metrics which divide by it differ there."""
    from harness import METRICS, both

    names = ["world:sentiment", "world:acceptability", "world:entailment"]
    found = both(tl.open_model("shipped"), names, 60)
    for name in names:
        assert {metric: theirs for metric, (theirs, _) in found[name].items()} == {
            metric: own for metric, (_, own) in found[name].items()}
    assert len({own for _, own in found["world:entailment"].values()}) > 1 and len(METRICS) == 3
