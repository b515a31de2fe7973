"""Time functions side by side, A B A B, and take medians: no machine is equally fast all the time.

Two runs that take turns see the same interruptions, so the ratio of neighbours is steadier than either. But
the one that has just run must not disturb the next: the idle threads of a library may spin for a while
(OpenBLAS's for a tenth of a second), on the very cores that the next one needs. So every turn waits until
nothing spins, and then warms up.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from statistics import median
from time import perf_counter, process_time, sleep
from typing import Any, NamedTuple

SHORTEST = 0.002  # seconds: shorter calls are repeated until a sample is this long
WARM_UP = 0.03  # seconds of calls off the clock: sleeping threads wake, each on a core of its own


class Contender(NamedTuple):
    """Something to time: `run(*prepare())`, inside of `around()`; only `run` is on the clock."""

    run: Callable
    prepare: Callable | None = None
    around: Callable = nullcontext


def race(contenders: dict[str, Contender], seconds: float, least: int = 3) -> dict[str, list[float]]:
    """Let contenders take turns for about so many seconds -> {name: [seconds per call, one per round]}.

    There are at least `least` rounds, however long they take. Each contender first runs off the clock, so
    that caches and pools are warm.
    """
    turns = {name: _calibrate(contender) for name, contender in contenders.items()}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    rounds, end = 0, perf_counter() + seconds
    while rounds < least or perf_counter() < end:
        for name, contender in contenders.items():
            times[name].append(_sample(contender, *turns[name]))
        rounds += 1
    return times


def ratio(times: dict[str, list[float]], slow: str, fast: str) -> float:
    """Return the time of `slow` over that of `fast`: the median over the rounds of a race."""
    return median(a / b for a, b in zip(times[slow], times[fast], strict=True))


def compare(contenders: dict[str, Contender], seconds: float, least: int = 3, **about: Any) -> Iterator[dict]:
    """Let contenders take turns -> yields a record for each, with all of `about` and its median time.

    `times` is the time as a multiple of the first contender's, whose own record has none.
    """
    times = race(contenders, seconds, least)
    first = next(iter(times))
    for engine, samples in times.items():
        record = {**about, "engine": engine, "seconds": median(samples), "rounds": len(samples)}
        yield record if engine == first else record | {"times": ratio(times, engine, first)}


def settle(patience: float = 1.0) -> None:
    """Wait, at most `patience` seconds, until no thread of this process uses its core."""
    end = perf_counter() + patience
    while perf_counter() < end:
        before = process_time()
        sleep(0.005)
        if process_time() - before < 0.001:
            return


def _calibrate(contender: Contender) -> tuple[int, float]:
    """Return the calls in a sample (1 with `prepare`, which serves one call), and seconds to warm up."""
    once = _sample(contender, 1, 0)
    if once > 100 * SHORTEST:  # so long that waking its threads is lost in it
        return 1, 0
    again = _sample(contender, 1, WARM_UP)
    return 1 if contender.prepare else max(1, min(1000, round(SHORTEST / again))), WARM_UP


def _sample(contender: Contender, calls: int, warm_up: float) -> float:
    run = contender.run
    prepare: Callable = contender.prepare or tuple
    settle()
    with contender.around():
        warm = perf_counter() + warm_up
        while perf_counter() < warm:
            run(*prepare())
        args = prepare()
        start = perf_counter()
        for _ in range(calls):
            run(*args)
        return (perf_counter() - start) / calls
