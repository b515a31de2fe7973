"""Ask the system how much memory is free, and how much this process has taken."""

import sys


def free_memory() -> int | None:
    """Return the number of free bytes of memory, or None if the system does not report it."""
    try:
        with open("/proc/meminfo", encoding="ascii", errors="replace") as f:
            return next((int(line.split()[1]) * 1024 for line in f if line.startswith("MemAvailable:")), None)
    except OSError:
        return None


def peak_rss_mb() -> float | None:
    """Return the peak memory of this process in MiB, or None if the system does not report it."""
    try:
        # Not getrusage: on Linux it also counts the memory of the parent process before exec.
        with open("/proc/self/status", encoding="ascii", errors="replace") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return round(int(line.split()[1]) / 1024, 1)
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    per_mib = 2**20 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / per_mib, 1)
