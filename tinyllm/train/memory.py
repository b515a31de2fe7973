"""Ask the system how much memory is free, and how much this process has taken."""

import sys
from contextlib import suppress


def _of_linux(file, name):
    """Return the bytes on the line `name` of a file in /proc, or None if there is no such line or file."""
    with suppress(OSError), open(f"/proc/{file}", encoding="ascii", errors="replace") as f:
        return next((int(line.split()[1]) * 1024 for line in f if line.startswith(f"{name}:")), None)


def free_memory() -> int | None:
    """Return the number of free bytes of memory, or None if the system does not report it."""
    return _of_linux("meminfo", "MemAvailable")


def peak_rss_mb() -> float | None:
    """Return the peak memory of this process in MiB, or None if the system does not report it."""
    if peak := _of_linux("self/status", "VmHWM"):  # getrusage also counts the parent's memory before exec
        return round(peak / 2**20, 1)
    if sys.platform != "darwin":
        return None
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1)
