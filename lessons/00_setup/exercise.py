"""Lesson 0. Put your own code in place of `raise NotImplementedError`.

Then run `tinyllm check 0`.
"""


def add(x, y):
    """Add two arrays of one shape, for example to the residual stream.

    x, y (...) -> (...). Both come back as they were.
    """
    raise NotImplementedError
