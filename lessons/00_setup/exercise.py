"""Lesson 0. Replace `raise NotImplementedError` by your own code; then run `tinyllm check 0`."""


def add(x, y):
    """Add two arrays of one shape: x, y (...) -> (...). Both come back as they were."""
    raise NotImplementedError
