"""Provide test cases for the ops split and join."""

from hypothesis import strategies as st

from tinyllm.testing.arrays import cases, floats, leading, sizes


@cases("split")
def split(draw):
    """Draw an array, and a number of equal parts into which its last axis can be split."""
    n = draw(st.sampled_from((2, 1, 3, 4)))
    return floats(draw, (*draw(leading), n * draw(sizes))), n


@cases("join")
def join(draw):
    """Draw a list of arrays of one shape, in different memory layouts, to be joined."""
    shape = (*draw(leading), draw(sizes))
    return ([floats(draw, shape) for _ in range(draw(st.sampled_from((2, 1, 3, 4))))],)
