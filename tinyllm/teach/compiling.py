"""Compiles a student's C file: the system's compiler in a process of its own, behind limits and Landlock.

Run as `python -I -S compiling.py LEVEL COMPILER ARGUMENTS...` in the folder of the files. A compiler runs no
code that it reads, but `#include "/home/me/secret"` would show a file in its messages, and a header
that includes itself takes for ever; so it sees the system and this folder only, and has little time.
"""

import os
import sys

SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/opt", "/etc/alternatives", "/etc/ld.so.cache",
          "/dev/null", "/dev/urandom", "/nix/store")  # fmt: skip


def main(level, command):
    """Put up the fences and become the compiler."""
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import sandbox  # no tinyllm: this process has nothing installed in reach

    sandbox.limits(memory=2**31, cpu_seconds=20, file_size=2**24, files=256)
    if level != "plain" and sandbox.landlock_version():
        here = os.getcwd()
        sandbox.landlock(readable=SYSTEM, writable=[here, "/dev/null"], executable=SYSTEM)
    os.execve(command[0], command, {"PATH": os.defpath, "TMPDIR": os.getcwd(), "LC_ALL": "C"})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
