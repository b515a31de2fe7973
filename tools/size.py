"""Print the lines of every folder beside the plan, and three totals beside their limits.

    python tools/size.py

Blanks and docstrings count. The plan is for the finished library; it is a plan, not a fence. docs/measured.md
says by how much the limits are missed.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CODE = {".py", ".pyx", ".pxi", ".pxd", ".c", ".h", ".html", ".css", ".toml", ".txt", ".sh", ".md", ".js"}

NAMES = {"Makefile", "run"}  # code without a suffix

PLAN = {  # part of tinyllm/ -> lines
    "ops": 3000,
    "tape tensor functional checkpointing rng files config errors padding version": 900,
    "tokenizer": 1800,
    "data world": 3000,
    "nn": 1000,
    "models": 1600,
    "decode": 650,
    "train": 1000,
    "runs": 1800,
    "align": 1000,
    "eval": 1200,
    "compress": 300,
    "serve": 1200,
    "parallel": 900,
    "report": 1300,
    "bench": 700,
    "cli": 1600,
    "testing": 3000,
    "course": 3800,
    "__init__ __main__ api": 200,
}
PATH = ("ops", "tape.py", "tensor.py", "functional.py", "nn", "models/gpt.py", "models/llama.py", "decode",
        "train")
LIMITS = {"repository": 45_000, "tinyllm/": 19_000, "reading path, ops to train": 8_000}


def lines() -> dict[str, int]:
    """Count the lines of every code and text file that git tracks: {path: lines}."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return {p.relative_to(ROOT).as_posix(): p.read_bytes().count(b"\n")
            for p in paths if (p.suffix in CODE or p.name in NAMES) and p.is_file()}


def by_part(counts: dict[str, int]) -> dict[str, int]:
    """Add up the files of tinyllm/ by the folder or module that they belong to."""
    parts: dict[str, int] = {}
    for path, n in counts.items():
        if path.startswith("tinyllm/"):
            part = path.split("/")[1].removesuffix(".py")
            parts[part] = parts.get(part, 0) + n
    return parts


def reading_path(counts: dict[str, int]) -> list[str]:
    """Return the Python files of the reading path, from arrays to a model that writes."""
    python = [name for name in counts if name.endswith(".py")]
    return [name for name in python if name.removeprefix("tinyllm/").startswith(PATH)]


def totals(counts: dict[str, int]) -> dict[str, int]:
    """Add up what has a limit: {name: lines}, in the order of LIMITS."""
    parts = by_part(counts)
    path = sum(counts[name] for name in reading_path(counts))
    return dict(zip(LIMITS, (sum(counts.values()), sum(parts.values()), path), strict=True))


def table(counts: dict[str, int]) -> str:
    """Write the comparison as text, at most 60 columns wide."""
    parts = by_part(counts)
    rows = [(names, sum(parts.pop(name, 0) for name in names.split()), plan) for names, plan in PLAN.items()]
    rows += [(f"{name} (not in the plan)", n, 0) for name, n in parts.items()]
    out = [f"{'tinyllm/':<46} {'lines':>8} {'plan':>8}"]
    out += [f"  {name[:43]:<44} {n:>8,} {plan:>8,}" for name, n, plan in rows]
    out.append(f"{'  all of the plan':<46} {sum(n for _, n, _ in rows):>8,} {sum(PLAN.values()):>8,}")
    folders: dict[str, int] = {}
    for name, n in counts.items():
        if not name.startswith("tinyllm/"):
            steps = name.split("/")[:-1]
            head = "/".join(steps[: 2 if steps[:1] == ["tests"] else 1]) + "/"
            folders[head] = folders.get(head, 0) + n
    out += [f"{name:<46} {n:>8,}" for name, n in sorted(folders.items())]
    out.append(f"\n{'in all':<46} {'lines':>8} {'limit':>8}")
    out += [f"{name:<46} {n:>8,} {LIMITS[name]:>8,}" for name, n in totals(counts).items()]
    return "\n".join(out)


if __name__ == "__main__":
    sys.stdout.write(table(lines()) + "\n")
