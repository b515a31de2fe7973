"""The tests are tested: `check` catches every known mistake, and `diagnose` names it.

That neither accuses the innocent is the matter of test_ops_alternatives.py.
"""

import functools

import pytest
from hypothesis import Phase, given, settings

from tinyllm.ops import OPS, override
from tinyllm.testing import CASES, MISTAKES, check, diagnose
from tinyllm.testing.check import run
from tinyllm.testing.mistake import outcome

ALL = [(name, sentence, function) for name, known in MISTAKES.items() for sentence, function in known]
# Their numbers are right: what is wrong is a type, or an input that was changed.
RIGHT_NUMBERS = {
    "softmax computed in float64 and left there",
    "the sum computed in float64 and left there",
    "x changed in place",
    "the right merge, but done inside the list that was given",
}


@functools.cache
def cases(name, count):
    """The first cases of an op that Hypothesis draws."""
    drawn = []

    @settings(max_examples=count, phases=[Phase.generate])
    @given(args=CASES[name])
    def draw(args):
        drawn.append(args)

    draw()
    return drawn


def caught(name, function, args):
    """Whether a function fails on a case: by a wrong result, or by an error of its own."""
    try:
        check(name, function, args)
    except Exception:
        return True
    return False


def some_case(name, holds):
    """Whether something holds in one of 80 cases, or else, for what is rare, of more."""
    return any(any(holds(args) for args in cases(name, count)) for count in (80, 300, 1200))


def test_every_op_has_three_mistakes_of_its_signature():
    assert set(MISTAKES) == set(OPS)
    for name, known in MISTAKES.items():
        assert len(known) >= 3 and len({sentence for sentence, _ in known}) == len(known)
        for _, function in known:
            override(**{name: function}).__exit__()  # refuses a function with other arguments


@pytest.mark.parametrize("name, sentence, function", ALL, ids=[f"{name}: {said}" for name, said, _ in ALL])
def test_every_mistake_is_caught_and_named(name, sentence, function):
    assert some_case(name, lambda args: caught(name, function, args))
    if sentence not in RIGHT_NUMBERS:
        assert some_case(name, lambda args: named(name, function, args) == sentence)


def named(name, function, args):
    """What `diagnose` says to a function's output, or None where it fails."""
    try:
        output = run(name, function, args)
    except Exception:
        return None
    return diagnose(name, args, output)


def test_no_mistake_changes_the_case_that_it_is_tried_on():
    """One of bpe_merge works inside the list that it is given; the case is then used for others."""
    args = ([1, 2, 3], (1, 2), 9)
    for _, function in MISTAKES["bpe_merge"]:
        outcome("bpe_merge", function, args)
    assert args == ([1, 2, 3], (1, 2), 9)
