"""Draw random numbers that are the same bits on every platform, Python version and NumPy version.

Everything random in tinyllm (initial weights, batch order, dropout, sampling, the story world) comes from
here, because NumPy promises stable streams only for its raw bit generators, not for its distributions. The
generator is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014):
output i is a hash of key + i * GOLDEN, so any position is reached at once and the state is two integers.
"""

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinyllm.arrays import ArrayLike

GOLDEN = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio: the step between two counters
MASK = 2**64 - 1


def _mix_int(z):
    """Hash one Python integer below 2**64 (the finaliser of SplitMix64)."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def _mix(z):
    """Hash every element of a uint64 array in place: the same function as `_mix_int`."""
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


@functools.lru_cache(1024)  # many keys share their first parts
def _fold(key):
    """Hash a key of integers and strings, in their order, to a 64-bit integer."""
    if not key:
        return 0
    state, part = _fold(key[:-1]), key[-1]
    tag = b"s" if isinstance(part, str) else b"i"
    data = part.encode() if isinstance(part, str) else b"%d" % int(part)
    for byte in tag + data + b"\xff":  # 0xff ends a part, as it is in no UTF-8 text
        state = _mix_int((state + GOLDEN + byte) & MASK)
    return state


def uniforms(keys: ArrayLike, counters: ArrayLike) -> np.ndarray:
    """Draw one number from each of many streams -> float64 (n,) in [0, 1).

    keys: the `key` of each of n Randoms; counters: how many words were drawn from each. Each number is what
    `uniform()` of that Random would draw next.
    """
    z = np.array(counters, np.uint64) + np.uint64(1)
    z *= np.uint64(GOLDEN)
    z += np.array(keys, np.uint64)
    return (_mix(z) >> np.uint64(11)) * 2.0**-53


class Random:
    """A stream of random numbers named by a key, such as `Random(seed, "batch", step)`.

    Equal keys give equal streams; different keys give unrelated ones. `counter` is the number of 64-bit words
    drawn so far. Set `counter` to move to another place; save `key` and `counter` to resume a stream.
    """

    def __init__(self, *key: int | str):
        self.key = _fold(key)
        self.counter = 0

    @classmethod
    def at(cls, key: int, counter: int) -> "Random":
        """Return a stream that starts at a place returned by `reserve`."""
        random = cls()
        random.key, random.counter = key, counter
        return random

    def reserve(self, n: int) -> tuple[int, int]:
        """Skip n words, and return their place (key, counter), from which `Random.at` can draw them later."""
        first = self.key, self.counter
        self.counter += n
        return first

    def bits(self, size: Any = None) -> Any:
        """Draw 64 random bits: a Python int, or a uint64 array of shape `size`."""
        if size is None:
            self.counter += 1
            return _mix_int((self.key + self.counter * GOLDEN) & MASK)
        shape = (size,) if isinstance(size, int) else tuple(size)
        n = math.prod(shape)
        z = np.arange(1, n + 1, dtype=np.uint64)
        z += np.uint64(self.counter & MASK)
        z *= np.uint64(GOLDEN)
        z += np.uint64(self.key)
        self.counter += n
        return _mix(z).reshape(shape)

    def uniform(self, size: Any = None) -> Any:
        """Draw a float64 in [0, 1) from the top 53 bits."""
        if size is None:
            return (self.bits() >> 11) * 2.0**-53
        return (self.bits(size) >> np.uint64(11)) * 2.0**-53

    def integers(self, n: int, size: Any = None) -> Any:
        """Draw an integer in [0, n), n at most 2**31.

        The top 32 bits are multiplied by n (Lemire 2019, without the rejection). The bias is below n / 2**32,
        which is too small to matter here. Raises ValueError for an n out of range.
        """
        if not 0 < n <= 2**31:
            raise ValueError(f"integers(n) needs 0 < n <= 2**31, got {n}")
        if size is None:
            return ((self.bits() >> 32) * n) >> 32
        return (((self.bits(size) >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32)).astype(np.int64)

    def happens(self, share: float) -> bool:
        """Return True with probability `share`, rounded to a multiple of 2**-20."""
        return self.integers(2**20) < share * 2**20

    def normal(self, size: int | tuple[int, ...]) -> np.ndarray:
        """Draw float32 numbers with mean 0 and variance 1: the sum of twelve uniforms, shifted to mean 0.

        Integers are summed, so the bits are the same everywhere; a logarithm or a cosine could differ. The
        tails end at six standard deviations.
        """
        shape = (size,) if isinstance(size, int) else tuple(size)
        total = np.zeros(math.prod(shape), np.int64)
        for _ in range(3):
            word = self.bits(total.size)
            for shift in (0, 16, 32, 48):
                total += ((word >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int64)
        return ((total - 6 * 65535) * (1.0 / 65536)).astype(np.float32).reshape(shape)

    def choice(self, items: Sequence) -> Any:
        """Draw one element of a non-empty sequence; all elements are equally likely."""
        return items[self.integers(len(items))]

    def shuffle(self, items: Iterable) -> list:
        """Return a new list with the elements in random order (Fisher and Yates)."""
        items = list(items)
        for i in range(len(items) - 1, 0, -1):
            j = self.integers(i + 1)
            items[i], items[j] = items[j], items[i]
        return items
