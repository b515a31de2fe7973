"""Time functions in turns, A B A B, and take medians, because the speed of a machine varies.

Two functions that take turns meet the same interruptions, so the ratio of neighbouring times varies less than
each time. But one function must not disturb the next: waiting threads of a library keep the cores busy for a
while (in OpenBLAS for a tenth of a second). So every turn ends when no thread is busy any more, and begins
with calls that are not timed; with one thread, neither is needed. Whole engines compete in processes of their
own (`apart`), so that none is affected by the memory, caches and settings of another.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from statistics import median
from time import perf_counter, process_time, sleep, thread_time
from typing import Any

import numpy as np

from tinyllm.errors import UserError
from tinyllm.ops.runtime import threads
from tinyllm.train.memory import peak_rss_mb

SHORTEST = 0.002  # seconds: shorter calls are repeated until a sample is this long
WARM_UP = 0.03  # seconds of calls that are not timed: sleeping threads wake up on separate cores


@dataclass
class Contender:
    """A function to time: `run(*prepare())`. The time of `prepare` does not count.

    amounts: what one call does, such as {"tokens": 768, "flops": 2e9}.
    answer: returns an array that all contenders must compute; it may differ by `tolerance` times the largest
        number of the first contender's answer.
    """

    run: Callable
    prepare: Callable = tuple
    amounts: Mapping[str, float] = field(default_factory=dict)
    answer: Callable[[], np.ndarray | None] = lambda: None
    tolerance: float = 0.0

    def sample(self, calls: int, warm_up: float) -> float:
        """Return the mean seconds of some calls, after `warm_up` seconds of calls that do not count.

        One thread is timed by its processor time, which other programs hardly change. A contender with
        `prepare` is called only once, because each call needs new arguments.
        """
        alone, calls = threads() == 1, calls if self.prepare is tuple else 1
        clock = thread_time if alone else perf_counter
        warm = perf_counter() + (0 if alone else warm_up)
        while perf_counter() < warm:
            self.run(*self.prepare())
        args = self.prepare()
        start = clock()
        for _ in range(calls):
            self.run(*args)
        taken = (clock() - start) / calls
        if not alone:
            settle()
        return taken


class Apart:
    """Make a contender with `make()` in another process, and take all its samples there."""

    def __init__(self, make: Callable[[], Contender]):
        self._process = ProcessPoolExecutor(1, get_context("spawn"), threads, (threads(),))
        self.amounts, self.tolerance, answer = self._run(_make, make)
        self.answer = lambda: answer

    def sample(self, calls: int, warm_up: float) -> float:
        """Take a sample in the other process; see `Contender.sample`."""
        return self._run(_sample, calls, warm_up)

    def close(self) -> float | None:
        """End the process, and return its peak memory in MiB."""
        with self._process:
            return self._run(peak_rss_mb)

    def _run(self, task, *args):
        try:
            return self._process.submit(task, *args).result()
        except BrokenProcessPool:
            raise UserError("its process ended without an answer; is there enough memory?") from None


def apart(makers: dict[str, Callable[[], Contender]]) -> dict[str, Callable[[], Any]]:
    """Return makers that call these functions each in another process: {engine: maker of an `Apart`}."""
    return {name: partial(Apart, make) for name, make in makers.items()}


MADE: list[Contender] = []  # the contender of this process, if the process is one of `Apart`


def _make(make):
    MADE.append(made := make())
    return made.amounts, made.tolerance, made.answer()


def _sample(*args):
    return MADE[0].sample(*args)


def compare(makers: dict[str, Callable[[], Any]], seconds: float, least: int = 3, **about: Any
            ) -> Iterator[dict]:
    """Time contenders in turns, and yield a record for each: its median time, rates, and the fields `about`.

    `makers` are functions that make the contenders. Rates are amounts a second. The field "times" is the
    ratio to the first contender's time. A contender that cannot be made, such as a library that is not
    installed, yields a record with the reason as "skipped". Raises UserError when a contender's results
    differ from those of the first.
    """
    made: dict[str, Any] = {}
    right: np.ndarray | None = None
    for name, make in makers.items():
        try:
            contender = make()
            answer = contender.answer()
        except Exception as error:  # of any kind: it may be another library's
            if not made:
                raise
            reason = str(error).strip().partition("\n")[0][:200]
            yield {**about, "engine": name, "skipped": f"{type(error).__name__}: {reason}"}
            continue
        made[name] = contender
        right = answer if right is None else right
        if right is not None and answer is not None:
            _must_agree(right, answer, contender.tolerance, name)
    times = race(made, seconds, least)
    first = next(iter(times))
    for name, samples in times.items():
        taken = median(samples)
        record = {**about, "engine": name, "seconds": taken,
                  "rates": {what: amount / taken for what, amount in made[name].amounts.items()}}
        if isinstance(made[name], Apart):  # the memory of a process that engines share says nothing
            record["peak_rss_mb"] = made[name].close()
        if name != first:
            record["times"] = median(a / b for a, b in zip(samples, times[first], strict=True))
        yield record


def _must_agree(first: np.ndarray, other: np.ndarray, tolerance: float, name: str) -> None:
    off = np.inf if np.shape(first) != np.shape(other) else np.abs(np.subtract(other, first)).max()
    allowed = tolerance * np.abs(first).max()
    if not off <= allowed:
        raise UserError(f"{name} does not compute what the first does: off by {off:.2g}, and "
                        f"{allowed:.2g} is allowed")


def race(entrants: dict[str, Any], seconds: float, least: int = 3) -> dict[str, list[float]]:
    """Time contenders in turns for about `seconds`; return {name: [seconds per call in each round]}.

    There are at least `least` rounds, however long they take. Each contender first runs once untimed.
    """
    turns = {name: _calibrate(entrant) for name, entrant in entrants.items()}
    times: dict[str, list[float]] = {name: [] for name in entrants}
    rounds, end = 0, perf_counter() + seconds
    while rounds < least or perf_counter() < end:
        for name, entrant in entrants.items():
            times[name].append(entrant.sample(*turns[name]))
        rounds += 1
    return times


def _calibrate(entrant):
    """Return the number of calls in a sample, and the seconds to warm up before it."""
    first = entrant.sample(1, 0)
    if first > 100 * SHORTEST:  # waking threads takes no time in comparison
        return 1, 0
    again = entrant.sample(1, WARM_UP)
    return max(1, min(1000, round(SHORTEST / again))), WARM_UP


def settle(patience: float = 1.0) -> None:
    """Wait, at most `patience` seconds, until no thread of this process is busy."""
    end = perf_counter() + patience
    while perf_counter() < end:
        before = process_time()
        sleep(0.005)
        if process_time() - before < 0.001:
            return
