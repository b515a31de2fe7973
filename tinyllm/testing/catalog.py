"""Collect cases, bounds, mistakes and variants of every op from the other files of this folder.

`CASES[name]` is a Hypothesis strategy that draws an op's arguments in float32. `BOUNDS[name]` takes arguments
and expected results in float64 and returns one tolerance per result; ops without a bound must return exactly
the expected numbers. `NEIGHBOURS[name]` takes a case and returns cases in which a number is changed as if by
rounding; their results are right, too. `MISTAKES[name]` is a list of (sentence, wrong function), and
`VARIANTS[name]` is a list of right functions.
"""

import contextlib
import functools
from collections.abc import Iterator
from importlib import import_module
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.internal.cache import LRUCache
from hypothesis.internal.conjecture import providers

from tinyllm.ops import OPS
from tinyllm.testing.arrays import CASES, one_empty, ordinary
from tinyllm.testing.bounds import BOUNDS, NEIGHBOURS
from tinyllm.testing.edits import MISTAKES, VARIANTS
from tinyllm.testing.relations import FORWARDS, SUFFIX, backward_cases, bind, specs_only

__all__ = ["BOUNDS", "CASES", "MISTAKES", "NEIGHBOURS", "VARIANTS", "draw_cases"]

for stem in sorted({o.reference.__module__.rpartition(".")[2] for o in OPS.values()}):
    import_module(f"tinyllm.testing.{stem}")
for name in FORWARDS:
    CASES.setdefault(name + SUFFIX, backward_cases(name, CASES[name]))

QUIET: dict[str, Any] = {"database": None, "deadline": None, "suppress_health_check": list(HealthCheck)}
_constants: LRUCache = LRUCache(1024)  # of constants; only those that Hypothesis itself defines


@contextlib.contextmanager
def without_found_constants() -> Iterator[None]:
    """Keep Hypothesis from drawing constants that it found in imported modules, inside a `with` block.

    The cache in which Hypothesis keeps such constants is replaced, too.
    """
    constants = getattr(providers, "Constants", None)
    ours: dict[str, Any] = {"_get_local_constants": constants, "CONSTANTS_CACHE": _constants}
    with mock.patch.multiple(providers, **{name: x for name, x in ours.items() if hasattr(providers, name)}):
        yield


@functools.cache
@specs_only()
def draw_cases(name: str, count: int = 60, variant: int = 0, plain: bool = False,
               empty: bool = False) -> list[tuple]:
    """Let Hypothesis draw `count` cases of an op: a list of argument tuples.

    variant: the seed. plain: draw ordinary numbers in plain layouts only. empty: each case has an empty axis.
    Every machine with the same version of Hypothesis draws the same cases.
    """
    drawn = []

    @settings(max_examples=count, phases=[Phase.generate], **QUIET)
    @seed(variant)
    @given(args=one_empty(CASES[name]) if empty else CASES[name])
    def draw(args):
        drawn.append(tuple(bind(name, args).values()))

    with without_found_constants(), ordinary() if plain else contextlib.nullcontext():
        draw()
    return drawn
