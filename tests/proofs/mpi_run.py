"""Run `tinyllm train` in several processes, for the tests of MPI and for verify_mpi.py."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

MPIEXEC = Path(sys.executable).with_name("mpiexec")  # MPICH's, from the wheel that mpi4py uses
MISSING = not (find_spec("mpi4py") and MPIEXEC.exists())


def flags(folder, text, how, settings):
    """Return the words of a run in `folder`; `how` is --overwrite or --resume."""
    sets = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    return ["train", "--data", str(text), "--out", str(folder), how, *sets]


def start(size, words, other=()):
    """Start `tinyllm` in `size` processes; `other` are the words for one more, if it gets others."""
    command = [str(MPIEXEC)]
    for number, each in ((size, words), (1, other)):
        if each:
            command += [":"] if each is other else []
            command += ["-n", str(number), sys.executable, "-m", "tinyllm", *each]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(size, words, other=()):
    """Run `tinyllm` in several processes -> (exit code, standard output, standard error)."""
    process = start(size, words, other)
    printed = process.communicate(timeout=300)
    return process.returncode, *printed


def ranks(mpiexec):
    """Return the ids of the processes that a mpiexec has started: its proxy's children."""
    return [pid for proxy in _children(mpiexec.pid) for pid in _children(proxy)]


def _children(pid):
    try:
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:  # it has just ended
        return []
