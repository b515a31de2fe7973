"""Run the commands that README.md and docs/*.md show, in one shell, and compare what they print.

    python3 .ci/readme.py [PAGE ...]

Every line of an ```sh block is run. In a ```console block, `$ command` is run if its output is shown below,
and must print that; lines may break elsewhere, and `...` stands for any text. A command without output is
not run: it needs more than a fresh machine (PyTorch, a file of yours, half an hour). The sh blocks of a
page are run first, because they install what the others show; there is one shell, because they may activate
an environment.
"""

import itertools
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]


def blocks(text, *languages):
    """Return (language, lines) of the fenced blocks in some languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, re.S | re.M)
    return [(language, body.splitlines()) for language, body in found if language in languages]


def commands(text, language="sh"):
    """Return all commands of the blocks in a language, without comments, continued lines joined."""
    lines = [line for _, block in blocks(text, language) for line in block]
    joined = re.sub(r"\\\n *", "", "\n".join(lines)).splitlines()
    return [line.strip() for line in joined if line.strip() and not line.lstrip().startswith("#")]


def steps(text):
    """Return (command, what it must print or None) of all that a page runs, the sh blocks first."""
    found = []
    for language, lines in blocks(text, "sh", "console"):
        if language == "sh":
            found += [(line, None) for line in commands("\n".join(["```sh", *lines, "```"]))]
            continue
        starts = [i for i, line in enumerate(lines) if line.startswith("$ ")] + [len(lines)]
        parts = [(lines[a][2:], "\n".join(lines[a + 1 : b])) for a, b in itertools.pairwise(starts)]
        found += [(command, output) for command, output in parts if output.strip()]
    return sorted(found, key=lambda step: step[1] is not None)


def prints(shown, printed):
    """Return True if the output is what a page shows, wherever lines break; `...` stands for any text."""
    shown, printed = (" ".join(text.split()) for text in (shown, printed))
    return re.fullmatch(".*".join(map(re.escape, shown.split("..."))), printed) is not None


def script(todo, folder):
    """Return a shell script that runs the commands, and keeps the output of step N in folder/N."""
    lines = ["set -eo pipefail", f"cd '{ROOT}'"]
    for number, (command, output) in enumerate(todo):
        quoted = command.replace("'", "'\\''")
        keep = "" if output is None else f" 2>&1 | tee '{folder}/{number}' || true"  # only output counts
        lines += [f"printf '\\n$ %s\\n' '{quoted}'", command + keep]
    return "\n".join(lines)


def main():
    pages = sys.argv[1:] or PAGES
    todo = [step for page in pages for step in steps((ROOT / page).read_text(encoding="utf-8"))]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["bash", "-c", script(todo, folder)], stdin=subprocess.DEVNULL).returncode
        kept = {int(path.name): path.read_text(encoding="utf-8") for path in Path(folder).iterdir()}
    wrong = [todo[n] for n, printed in sorted(kept.items()) if not prints(todo[n][1], printed)]
    for command, output in wrong:
        print(f"\n`{command}` does not print what the page shows (above is what it printed):\n{output}")
    outcome = f"one failed with exit code {done}" if done else f"{len(wrong)} printed something else"
    print(f"\n{len(todo)} commands of {len(pages)} pages: {outcome if done or wrong else 'all as shown'}")
    return done or bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
