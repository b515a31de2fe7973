"""Draw a map of places and roads."""

import itertools
import math
from collections.abc import Sequence

from tinyllm.rng import Random

COLUMNS, ROWS, SCALE = 12, 8, 3  # cells of the grid, miles from cell to cell


class Map:
    """Places {name: (column, row)} and roads {(a, b): miles}; the roads connect all places."""

    def __init__(self, names: Sequence[str], random: Random):
        cells = random.shuffle(itertools.product(range(COLUMNS), range(ROWS)))
        self.places = dict(zip(names, cells, strict=False))
        self.roads: dict[tuple[str, str], int] = {}
        joined = [names[0]]
        for place in names[1:]:  # join it to the nearest joined place, and to the second if near
            first, *more = sorted(joined, key=lambda other: (self._miles(place, other), other))
            self._build(place, first)
            if more and self._miles(place, more[0]) <= 4 * SCALE:
                self._build(place, more[0])
            joined.append(place)

    def _miles(self, a, b):
        (x, y), (u, v) = self.places[a], self.places[b]
        return math.isqrt(SCALE * SCALE * ((x - u) ** 2 + (y - v) ** 2))

    def _build(self, a, b):
        self.roads[min(a, b), max(a, b)] = self._miles(a, b)
