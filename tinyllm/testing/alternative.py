"""Where right solutions that are written differently are kept: a checker must accept them all."""

ALTERNATIVES: dict = {}  # op -> list of functions


def alternative(function):
    """Register a right solution; its name says the op and, after `_by_`, how it is done."""
    ALTERNATIVES.setdefault(function.__name__.split("_by_")[0], []).append(function)
    return function
