"""Cases of split and join."""

from hypothesis import strategies as st

from tinyllm.testing.arrays import floats, leading, sizes


@st.composite
def split(draw):
    """An array whose last axis is a multiple of the number of parts."""
    n = draw(st.sampled_from((2, 1, 3, 4)))
    return floats(draw, (*draw(leading), n * draw(sizes))), n


@st.composite
def join(draw):
    """Parts of one shape, each in a layout of its own."""
    shape = (*draw(leading), draw(sizes))
    return ([floats(draw, shape) for _ in range(draw(st.sampled_from((2, 1, 3, 4))))],)


CASES = {"split": split(), "join": join()}
BOUNDS: dict = {}  # numbers are moved, not changed
