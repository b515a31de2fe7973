"""Run every lesson as a student's copy: output, time and memory against what the lessons promise.

    python tests/proofs/verify_lessons.py [--quick]

Promises and budgets stand in syllabus.toml. Seconds are from the start of Python to its end, and mean
something on a quiet machine only: no test looks at them. --quick: those that take long, which no test
runs; `make docs` does, but for their seconds. Exits with 1 where a promise or a budget is broken.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tinyllm.course.syllabus import syllabus

RUNNER = """
import runpy, sys
from tinyllm.ops.registry import watch
ran = set()
watch(lambda op, run, *args, **options: (ran.add(op.__name__), run(*args, **options))[1])
sys.argv, sys.path[0] = [sys.argv[1]], sys.argv[1].rpartition("/")[0]
runpy.run_path(sys.argv[0], run_name="__main__")
from tinyllm.train.memory import peak_rss_mb  # not ru_maxrss, which counts the process that started this one
print("\\nRAN", *sorted(ran), "\\nPEAK", int(peak_rss_mb()))
"""


def run_lesson(lesson, folder):
    """Copy a lesson into a folder and run it there -> the process that ended, and its peak memory in MiB."""
    for path in lesson.path.glob("*.*"):
        shutil.copy(path, folder)
    environment = os.environ | {"TINYLLM_LESSON": "quiet"}
    how = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 900}  # no terminal
    command = [sys.executable, "-c", RUNNER, str(Path(folder, "lesson.py"))]
    done = subprocess.run(command, cwd=folder, env=environment, **how)
    peak = re.search(r"PEAK (\d+)$", done.stdout.strip())
    return done, int(peak[1]) if peak else 0


def announced(lesson, printed):
    """Return the ops of a lesson that it never ran, though it says that it runs those that have passed."""
    ran = re.search(r"(?m)^RAN(.*)$", printed)[1].split()
    return [task.name for task in lesson.tasks if task.kind == "op" and task.name not in ran]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the lessons that take long")
    quick = parser.parse_args(argv).quick
    lessons = [lesson for lesson in syllabus() if lesson.long or not quick]
    took, peaks, bad = [], [], []
    for lesson in lessons:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            done, peak = run_lesson(lesson, folder)
        took, peaks = [*took, time.monotonic() - began], [*peaks, peak]
        budget = f"{took[-1]:5.1f} of {lesson.seconds:3} s  {peak:5} of {lesson.memory:4} MiB"
        print(f"{lesson.folder:22} {budget}", *done.stderr.splitlines()[-1:], flush=True)
        broken = lesson.broken(done.stdout)
        broken += [f"{name} never runs" for name in announced(lesson, done.stdout)] if peak else []
        for promise in broken:
            print(f"  broken: {promise}")
        over = done.returncode or broken or took[-1] > lesson.seconds or peak > lesson.memory
        bad += [lesson.folder] if over else []
    most = f"none over {max(took):.1f} s and {max(peaks)} MiB"
    said = ", ".join(bad) or "none"
    print(f"=> {len(lessons)} lessons in {sum(took):.0f} s, {most}; broken or over budget: {said}")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
