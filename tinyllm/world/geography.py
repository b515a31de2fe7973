"""Draw a map of places and roads, and find shortest ways along the roads."""

import itertools
import math
from collections.abc import Sequence
from heapq import heappop, heappush

from tinyllm.errors import UserError
from tinyllm.rng import Random

COLUMNS, ROWS, SCALE = 12, 8, 3  # cells of the grid, miles from cell to cell


class Map:
    """Places {name: (column, row)} and roads {(a, b): miles}; the roads connect all places."""

    def __init__(self, names: Sequence[str], random: Random):
        cells = random.shuffle(itertools.product(range(COLUMNS), range(ROWS)))
        self.places = dict(zip(names, cells, strict=False))
        self.roads: dict[tuple[str, str], int] = {}
        joined = [names[0]]
        for place in names[1:]:  # to the nearest place that is joined, and to the next nearest if it is near
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

    def neighbours(self, place: str) -> dict[str, int]:
        """Return {other place: miles} for the roads from a place."""
        if place not in self.places:
            raise UserError(f"no place is called {place}; there are {', '.join(self.places)}")
        return {b if a == place else a: miles for (a, b), miles in self.roads.items() if place in (a, b)}

    def route(self, start: str, goal: str) -> tuple[int, list[str]]:
        """Find the shortest way from a start to a goal (Dijkstra); return its miles and its places.

        Of equally short ways, the first in alphabetical order is returned.
        """
        self.neighbours(goal)
        queue: list[tuple[int, list[str]]] = [(0, [start])]
        done = set()
        while True:
            miles, way = heappop(queue)
            if way[-1] == goal:
                return miles, way
            if way[-1] not in done:
                done.add(way[-1])
                for place, more in self.neighbours(way[-1]).items():
                    heappush(queue, (miles + more, [*way, place]))

    def drawing(self) -> str:
        """Return the map as text: a grid with the first letter of each place, then a list of roads."""
        grid = [["."] * COLUMNS for _ in range(ROWS)]
        for name, (x, y) in self.places.items():
            grid[y][x] = name[0]
        rows = ["   ".join(row) for row in grid]
        roads = [f"{a} - {b}: {miles} miles" for (a, b), miles in sorted(self.roads.items())]
        return "\n".join([*rows, "", *roads])
