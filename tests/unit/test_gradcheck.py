"""Compare every backward op with finite differences in float64; check that wrong ones are noticed."""

import pytest
from gradcheck import gradcheck
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.ops import OPS
from tinyllm.testing import CASES, MISTAKES
from tinyllm.testing.catalog import draw_cases
from tinyllm.testing.relations import FORWARDS, SUFFIX


def test_every_backward_is_proved():
    assert {name for name in OPS if name.endswith(SUFFIX)} == {name + SUFFIX for name in FORWARDS}


@pytest.mark.parametrize("name", FORWARDS)
@given(data=st.data())
def test_the_backward_is_the_gradient_of_the_forward(name, data):
    assert gradcheck(name, data.draw(CASES[name])) < 1e-6


@pytest.mark.parametrize("name", FORWARDS)
def test_a_wrong_gradient_is_noticed(name):
    """Every known mistake must exceed the limit of 1e-6 a hundred times in some case, or raise an error."""

    def is_wrong(args, backward):
        try:
            return gradcheck(name, args, backward) > 1e-4
        except Exception:
            return True

    for said, function in MISTAKES.get(name + SUFFIX, ()):
        some = (args for count in (20, 60, 300) for args in draw_cases(name, count))
        assert any(is_wrong(args, function) for args in some), said
