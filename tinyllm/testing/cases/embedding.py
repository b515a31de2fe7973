"""Cases of embedding."""

from hypothesis import strategies as st

from tinyllm.testing.arrays import floats, ints, leading, sizes
from tinyllm.testing.bounds import of_sizes


@st.composite
def embedding(draw):
    """A table and ids, most of them more than once."""
    vocab, width, shape = draw(sizes), draw(sizes), (*draw(leading), draw(sizes))
    if not vocab:
        shape = (*shape, 0)  # an empty table has no ids
    return floats(draw, (vocab, width)), ints(draw, shape, vocab)


CASES = {"embedding": embedding()}
BOUNDS = {"embedding_backward": of_sizes("embedding_backward", lambda ids, **_: 1 + ids.size)}
