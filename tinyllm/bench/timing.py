"""Time functions in turns, A B A B, and take medians, because the speed of a machine varies.

Two functions that take turns meet the same interruptions, so the ratio of their times varies less than each
time. But one function must not disturb the next: idle threads of a library may stay busy for a while (in
OpenBLAS for a tenth of a second) and occupy the cores. So every turn waits until no thread is busy, and then
calls its function once untimed.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from statistics import median
from time import perf_counter, process_time, sleep
from typing import Any, NamedTuple

SHORTEST = 0.002  # seconds: shorter calls are repeated until a sample is this long
WARM_UP = 0.03  # seconds of calls that are not timed: sleeping threads wake up on separate cores


class Contender(NamedTuple):
    """A function to time: `run(*prepare())` inside `with around():`; only `run` is timed."""

    run: Callable
    prepare: Callable | None = None
    around: Callable = nullcontext


def race(contenders: dict[str, Contender], seconds: float, least: int = 3) -> dict[str, list[float]]:
    """Time contenders in turns for about `seconds`; return {name: [seconds per call in each round]}.

    There are at least `least` rounds, however long they take. Each contender first runs once untimed.
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
    """Return the time of `slow` divided by the time of `fast`, as the median over the rounds of `race`."""
    return median(a / b for a, b in zip(times[slow], times[fast], strict=True))


def compare(contenders: dict[str, Contender], seconds: float, least: int = 3, **about: Any) -> Iterator[dict]:
    """Time contenders in turns, and yield a record for each: its median time, and the fields `about`.

    The field "times" is the ratio to the first contender's time; the first record does not have it.
    """
    times = race(contenders, seconds, least)
    first = next(iter(times))
    for engine, samples in times.items():
        record = {**about, "engine": engine, "seconds": median(samples), "rounds": len(samples)}
        yield record if engine == first else record | {"times": ratio(times, engine, first)}


def settle(patience: float = 1.0) -> None:
    """Wait, at most `patience` seconds, until no thread of this process is busy."""
    end = perf_counter() + patience
    while perf_counter() < end:
        before = process_time()
        sleep(0.005)
        if process_time() - before < 0.001:
            return


def _calibrate(contender: Contender) -> tuple[int, float]:
    """Return the calls in a sample (1 with `prepare`, which serves one call), and seconds to warm up."""
    once = _sample(contender, 1, 0)
    if once > 100 * SHORTEST:  # waking threads takes no time in comparison
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
