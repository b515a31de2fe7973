"""Run every command of the README's ```sh blocks in one shell, and stop at the first that fails.

    python3 .ci/readme.py [--list]

One shell, because a block may activate an environment that the next one uses. Blocks marked ```console
show commands that need more than a fresh machine (PyTorch, a file of yours, half an hour) and are not run.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def commands(text, language="sh"):
    """The lines of all fenced blocks in a language, without comments, continued lines joined."""
    found, inside = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = not inside and line.strip() == f"```{language}"
        elif inside and found and found[-1].endswith("\\"):
            found[-1] = found[-1][:-1].rstrip() + " " + line.strip()
        elif inside and line.strip() and not line.lstrip().startswith("#"):
            found.append(line.strip())
    return found


def main():
    lines = commands((ROOT / "README.md").read_text(encoding="utf-8"))
    if "--list" in sys.argv:
        print("\n".join(lines))
        return 0
    script = ["set -eo pipefail"]
    for line in lines:
        quoted = line.replace("'", "'\\''")
        script += [f"printf '\\n$ %s\\n' '{quoted}'", line]
    done = subprocess.run(["bash", "-c", "\n".join(script)], cwd=ROOT, stdin=subprocess.DEVNULL).returncode
    outcome = "all ran" if done == 0 else f"one failed with exit code {done}"
    print(f"\n{len(lines)} commands of the README: {outcome}")
    return done


if __name__ == "__main__":
    sys.exit(main())
