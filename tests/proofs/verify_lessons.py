"""Run every lesson as a student's copy: output, time and memory against what the lessons promise.

    python tests/proofs/verify_lessons.py [--quick]

Promises and budgets stand in syllabus.toml. Seconds are from the start of Python to its end, and mean
something on a quiet machine only: no test looks at them. --quick: those that take long, which no test
runs; `make docs` does, but for their seconds. Exits with 1 where a promise or a budget is broken.
"""

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
    """Copy a lesson into a folder and run it there -> the process that ended, and what it broke."""
    for path in lesson.path.glob("*.*"):
        shutil.copy(path, folder)
    environment = {"TINYLLM_CACHE": str(Path(folder, "cache")), **os.environ, "TINYLLM_LESSON": "quiet"}
    how = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 900}  # no terminal
    command = [sys.executable, "-c", RUNNER, str(Path(folder, "lesson.py"))]
    done = subprocess.run(command, cwd=folder, env=environment, **how)
    ended = re.search(r"RAN(.*)\nPEAK (\d+)$", done.stdout.strip())
    if done.returncode or not ended:
        return done, [f"exit code {done.returncode}: {done.stderr[-2000:]}"]
    ran, peak = ended[1].split(), int(ended[2])
    broken = [f"{task.name} never runs" for task in lesson.tasks
              if task.kind == "op" and task.name not in ran]
    broken += [f"{peak} MiB, where {lesson.memory} are promised"] if not 0 < peak <= lesson.memory else []
    return done, broken + lesson.broken(done.stdout)


def main():
    lessons = [lesson for lesson in syllabus() if lesson.long or "--quick" not in sys.argv]
    began, bad = time.monotonic(), []
    for lesson in lessons:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            _, broken = run_lesson(lesson, folder)
        took = time.monotonic() - start
        broken += [f"{took:.1f} s"] if took > lesson.seconds else []
        bad += [lesson.folder] if broken else []
        print(f"{lesson.folder:22} {took:5.1f} of {lesson.seconds:3} s", *broken, flush=True)
    said = ", ".join(bad) or "none"
    print(f"=> {len(lessons)} lessons in {time.monotonic() - began:.0f} s; broken or over budget: {said}")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
