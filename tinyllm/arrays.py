"""Name what functions take as an array, so that help() shows ArrayLike, not a union of 300 characters."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import ArrayLike as ArrayLike
else:
    ArrayLike = type("ArrayLike", (), {"__module__": "numpy.typing"})
