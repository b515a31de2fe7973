"""Right solutions, written differently: `check` accepts every one, and `diagnose` has nothing to say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyllm.ops import OPS
from tinyllm.testing import CASES, check, diagnose
from tinyllm.testing.alternatives import ALTERNATIVES
from tinyllm.testing.check import run

ALL = [(name, function) for name, functions in ALTERNATIVES.items() for function in functions]


def test_alternatives_are_of_ops():
    assert ALTERNATIVES.keys() <= OPS.keys()


@pytest.mark.parametrize("name, function", ALL, ids=[function.__name__ for _, function in ALL])
@settings(max_examples=40)
@given(data=st.data())
def test_a_right_solution_is_accepted(name, function, data):
    args = data.draw(CASES[name])
    check(name, function, args)
    assert diagnose(name, args, run(name, function, args)) is None
