"""Print the lines of every group beside its limit; fail when a group is above it.

    python tools/size.py

The limits are in tools/size.toml. Blank lines and docstrings count.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMITS = tomllib.loads((ROOT / "tools" / "size.toml").read_text(encoding="utf-8"))

CODE = {".py", ".pyx", ".pxi", ".pxd", ".c", ".h", ".html", ".css", ".toml", ".txt", ".sh", ".md", ".js",
        ".jsonl"}  # what runs write, so that none is committed
NAMES = {"Makefile", "run"}  # code without a suffix


def lines() -> dict[str, int]:
    """Count the lines of every code and text file that git tracks: {path: lines}."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return {path.relative_to(ROOT).as_posix(): path.read_bytes().count(b"\n")
            for path in paths if (path.suffix in CODE or path.name in NAMES) and path.is_file()}


def reading_path(counts: dict[str, int]) -> list[str]:
    """Return the Python files of the reading path, from arrays to a model that writes."""
    begins = tuple(LIMITS["reading_path"]["begins"])
    return [path for path in counts if path.endswith(".py") and path.startswith(begins)]


def totals(counts: dict[str, int]) -> list[tuple[str, int, int]]:
    """Add up what has a limit: a list of (name, lines, limit)."""
    sums = dict.fromkeys((group["name"] for group in LIMITS["group"]), 0)
    for path, n in counts.items():
        sums[next(group["name"] for group in LIMITS["group"] if path.startswith(tuple(group["begins"])))] += n
    rows = [(group["name"], sums[group["name"]], group["limit"]) for group in LIMITS["group"]]
    path = sum(counts[name] for name in reading_path(counts))
    rows.append(("reading path, a part of product", path, LIMITS["reading_path"]["limit"]))
    return [*rows, ("repository", sum(counts.values()), LIMITS["repository"]["limit"])]


def by_folder(counts: dict[str, int]) -> dict[str, int]:
    """Add up the lines of every folder, two steps deep in tinyllm/ and tests/: {folder: lines}."""
    folders: dict[str, int] = {}
    for path, n in counts.items():
        steps = path.split("/")[:-1][: 2 if path.startswith(("tinyllm/", "tests/")) else 1]
        name = "/".join(steps) + "/" if steps else "files of the root"
        folders[name] = folders.get(name, 0) + n
    return dict(sorted(folders.items()))


def main() -> int:
    """Print both tables and return 1 if a limit is exceeded, 0 otherwise."""
    counts = lines()
    for name, n in by_folder(counts).items():
        print(f"{name:<46} {n:>7,}")
    print(f"\n{'':<46} {'lines':>7} {'limit':>7}")
    over = []
    for name, n, limit in totals(counts):
        print(f"{name:<46} {n:>7,} {limit:>7,}")
        if n > limit:
            over.append(f"{name} has {n - limit:,} lines too many: delete some, or find a mechanism")
    print(*over, sep="\n", end="\n" if over else "")
    return bool(over)


if __name__ == "__main__":
    sys.exit(main())
