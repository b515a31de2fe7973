"""Timing side by side: A B A B, then medians, for no machine is equally fast all the time.

Two runs that take turns see the same interruptions, so the ratio of neighbours is steadier than either.
"""

from collections.abc import Callable
from contextlib import nullcontext
from statistics import median
from time import perf_counter
from typing import NamedTuple

SHORTEST = 0.002  # seconds: shorter calls are repeated until a sample is this long


class Contender(NamedTuple):
    """Something to time: `run(*prepare())`, inside of `around()`; only `run` is on the clock."""

    run: Callable
    prepare: Callable | None = None
    around: Callable = nullcontext


def race(contenders, seconds, least=3):
    """Let contenders take turns for about so many seconds -> {name: [seconds per call, one per round]}.

    contenders: {name: Contender}. There are at least `least` rounds, however long they take. Each contender
    first runs off the clock, so that caches and pools are warm.
    """
    calls = {name: _calibrate(contender) for name, contender in contenders.items()}
    times = {name: [] for name in contenders}
    rounds, end = 0, perf_counter() + seconds
    while rounds < least or perf_counter() < end:
        for name, contender in contenders.items():
            times[name].append(_sample(contender, calls[name]))
        rounds += 1
    return times


def ratio(times, slow, fast):
    """How many times as long `slow` took as `fast`: the median over the rounds of a race."""
    return median(a / b for a, b in zip(times[slow], times[fast], strict=True))


def _calibrate(contender):
    """How many calls make one sample. What is prepared is used up by one call."""
    once = _sample(contender, 1)
    if contender.prepare or once > 100 * SHORTEST:
        return 1
    return max(1, min(1000, round(SHORTEST / _sample(contender, 1))))


def _sample(contender, calls):
    run = contender.run
    with contender.around():
        args = contender.prepare() if contender.prepare else ()
        start = perf_counter()
        for _ in range(calls):
            run(*args)
        return (perf_counter() - start) / calls
