"""Define Group, the processes that train one model together, and ALONE, a group of one process."""

from typing import Any

import numpy as np


class Group:
    """The processes that train one model together: this process is number `rank` of `size`.

    This class is a group of one. A subclass connects several processes, for example by MPI, with three
    methods, `all_reduce`, `broadcast` and `gather`, that all processes call in the same order; each call
    waits for the others. A pipeline also needs `send` and `receive`: see `MpiGroup`. When a process fails,
    the methods must raise in all others, or the launcher must end them: else they would wait forever.

    N processes train with the bits of one, because sums are added in the order in which one process adds.
    """

    rank = 0
    size = 1
    copies = property(lambda self: self.size)  # of the model, which compute other pieces of a batch

    def all_reduce(self, numbers: np.ndarray) -> np.ndarray:
        """Return x0 + x1 + x2 + ..., the sum of an array over all processes, in the order of ranks.

        All processes pass arrays of the same shape, which are not changed, and get the same bits.
        """
        return numbers

    def broadcast(self, numbers: np.ndarray, rank: int) -> None:
        """Overwrite an array in all processes by the array of process `rank`, which has the same shape."""

    def gather(self, value: Any) -> list[Any]:
        """Return the small values of all processes, such as numbers, in the order of ranks; wait for all."""
        return [value]

    def part(self, ranks: list[int]) -> "Group":
        """Return the group of some processes. All processes call this at once, each for its own part."""
        return self


ALONE = Group()
