"""Write counts of operations for a reader."""

import math


def short(n):
    """Write a count with three digits and a unit: 85056 -> 85.1 k."""
    power = min(int(math.log10(n) // 3), 5) if n else 0
    return f"{n / 1000**power:.3g} {['', 'k', 'M', 'G', 'T', 'P'][power]}".strip()
