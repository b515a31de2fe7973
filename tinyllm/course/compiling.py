"""Compiles a student's C file: the system's compiler in a process of its own, behind limits and Landlock.

Run as `python -I -S compiling.py LEVEL COMPILER ARGUMENTS...` in the folder of the files. A compiler runs no
code that it reads, but `#include "/home/me/secret"` would show a file in its messages, and a header
that includes itself takes for ever; so it sees the system and this folder only, and has little time. At the
level bwrap this runs inside bubblewrap.
"""

import importlib.util
import os
import sys

SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/alternatives", "/etc/ld.so.cache",
          "/dev/null", "/dev/urandom", "/nix/store")  # fmt: skip


def visible(compiler):
    """What a compiler may read and run: the system; of /opt, where courses may lie, its own folder only."""
    parts = compiler.split("/")
    return (*SYSTEM, "/".join(parts[:3])) if parts[1] == "opt" else SYSTEM


def main(level, command):
    """Put up the fences and become the compiler."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sandbox.py")
    spec = importlib.util.spec_from_file_location("sandbox", path)  # by its path: nothing is in reach here
    sandbox = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sandbox)
    sandbox.limits(memory=2**31, cpu_seconds=20, file_size=2**24, files=256)
    if level != "plain" and sandbox.landlock_version():
        system = visible(os.path.realpath(command[0]))
        sandbox.landlock(readable=system, writable=[os.getcwd(), "/dev/null"], executable=system)
    os.execve(command[0], command, {"PATH": os.defpath, "TMPDIR": os.getcwd(), "LC_ALL": "C"})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
