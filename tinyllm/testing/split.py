"""Provide test cases, common mistakes and correct variants for the ops split and join."""

from hypothesis import strategies as st

from tinyllm.testing.arrays import cases, floats, leading, sizes
from tinyllm.testing.edits import mistake


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


PARTS = "tuple(part.copy() for part in np.split(x, n, axis=-1))"
JOINED = "np.concatenate(parts, axis=-1)"

mistake("split", "every n-th channel in one part, where the parts are runs of channels", PARTS,
        "tuple(x[..., i::n].copy() for i in range(n))")
mistake("split", "parts cut from the flattened array, so that they mix rows", PARTS,
        "tuple(part.reshape(*x.shape[:-1], x.shape[-1] // n) for part in np.split(x.flatten(), n))")
mistake("join", "channels taken from the parts in turn", JOINED,
        f"np.stack(parts, axis=-1).reshape({JOINED}.shape)")
mistake("join", "the parts one after another, each with all its rows", JOINED,
        f"np.concatenate([part.reshape(-1) for part in parts]).reshape({JOINED}.shape)")
