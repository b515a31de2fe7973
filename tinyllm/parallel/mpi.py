"""Connect the processes that `mpiexec -n N tinyllm train` has started, by mpi4py, to a group.

mpi4py is imported only in such a process. A launcher tells a process its rank by an environment variable.
"""

import atexit
import json
import os
import warnings
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from typing import Any

import numpy as np

from tinyllm.errors import UserError
from tinyllm.ops import runtime
from tinyllm.train.group import ALONE, Group

LAUNCHERS = ("PMI", "OMPI_COMM_WORLD")  # MPICH and its kin, Open MPI: prefixes of _RANK and _SIZE


class MpiGroup(Group):
    """The processes of an MPI communicator, such as `MPI.COMM_WORLD`."""

    failures: Any = None  # an MPI window on process 0's count of processes that failed

    def __init__(self, comm: Any):
        self.comm, self.rank, self.size = comm, comm.rank, comm.size

    def all_reduce(self, numbers: np.ndarray) -> np.ndarray:
        """Return x0 + x1 + x2 + ...: each process adds one slice of the array, in the order of ranks.

        MPI's own sum adds in an order that depends on the number of processes and on the size of the array.
        """
        flat = np.ascontiguousarray(numbers).reshape(-1)
        edges = [flat.size * i // self.size for i in range(self.size + 1)]
        counts = np.diff(edges)
        parts, total = np.empty((self.size, counts[self.rank]), flat.dtype), np.empty_like(flat)
        self.comm.Alltoallv([flat, counts], parts)
        for part in parts[1:]:
            parts[0] += part
        self.comm.Allgatherv(parts[0], [total, counts])
        return total.reshape(numbers.shape)

    def broadcast(self, numbers: np.ndarray, rank: int) -> None:
        """Overwrite a contiguous array by the one of process `rank`."""
        self.comm.Bcast(numbers, rank)

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, which travel as JSON: a tuple arrives as a list."""
        return self.comm.allgather(value)

    def send(self, numbers: np.ndarray, rank: int) -> Callable[[], Any]:
        """Begin to send an array to process `rank`; return a function that waits until this is done."""
        return self.comm.Isend(np.ascontiguousarray(numbers), rank).Wait

    def receive(self, shape: tuple[int, ...], rank: int) -> np.ndarray:
        """Wait for the next array that process `rank` sends, of float32 and this shape, and return it."""
        numbers = np.empty(shape, np.float32)
        self.comm.Recv(numbers, rank)
        return numbers

    def part(self, ranks: list[int]) -> Group:
        """Return the group of some processes, with a communicator of their own."""
        return MpiGroup(self.comm.Split(ranks[0], self.rank))

    def first_to_fail(self) -> bool:
        """Return True in the first process that calls this; no other process need take part."""
        before = np.zeros(1, np.int64)
        self.failures.Lock(0)
        self.failures.Fetch_and_op(np.ones(1, np.int64), before, 0)
        self.failures.Unlock(0)
        return not before[0]


def launched() -> tuple[int, int]:
    """Return the rank of this process, and how many processes the launcher started; (0, 1) without one."""
    for launcher in LAUNCHERS:
        if size := os.environ.get(f"{launcher}_SIZE"):
            return int(os.environ[f"{launcher}_RANK"]), int(size)
    return 0, 1


@cache
def connect() -> Group:
    """Return the group of all processes that the launcher started, or ALONE.

    The processes of one machine divide its processors: each gets its share of threads, at least one. Raises
    UserError if mpi4py, or the MPI library, is missing or of another vendor than the launcher.
    """
    _, size = launched()
    if size == 1:
        return ALONE
    try:
        import mpi4py

        mpi4py.rc(initialize=False, finalize=True)
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise UserError(f"{size} processes were started, which need mpi4py and MPI "
                        f"({str(error).splitlines()[0]}): pip install 'tinyllm-lab[mpi]'") from None
    vendor, comm = MPI.get_vendor()[0], MPI.COMM_WORLD
    other = vendor != "Open MPI" and "OMPI_COMM_WORLD_SIZE" in os.environ  # MPICH would end the process
    if not other:
        with warnings.catch_warnings(action="ignore"):  # mpi4py's, about another vendor, in three lines
            MPI.Init_thread()
    if other or comm.size != size:
        raise UserError(f"{size} processes were started by another MPI than {vendor}, which mpi4py uses: "
                        f"start them by the mpiexec of {vendor}")
    MPI.pickle.__init__(  # type: ignore[misc]  # mpi4py's way to replace pickle
        lambda value: json.dumps(value).encode(), lambda data: json.loads(bytes(data)))
    group = MpiGroup(comm)
    group.failures = MPI.Win.Allocate(8, 8, comm=comm)
    atexit.register(group.failures.Free)  # else MPI's transport prints warnings when it ends
    np.frombuffer(group.failures, np.int64)[:] = 0
    group.gather(None)  # all have set it to 0
    if not os.environ.get("TINYLLM_THREADS"):
        here = comm.Split_type(MPI.COMM_TYPE_SHARED).size
        runtime.threads(max(1, runtime.threads() // here))
    return group


def require_equal(group: Group, **values: Any) -> None:
    """Raise UserError, the same in all processes, unless all have equal values, such as settings and data.

    Only digests travel. Values are what JSON can tell, and arrays.
    """
    first, *others = group.gather({name: _digest(value) for name, value in values.items()})
    for rank, found in enumerate(others, 1):
        for name, digest in first.items():
            if found[name] != digest:
                raise UserError(f"process {rank} has other {name} than process 0 (SHA-256 {found[name][:12]} "
                                f"and {digest[:12]}): start all with equal flags, files and versions")


def _digest(value):
    if isinstance(value, np.ndarray):
        return sha256(np.ascontiguousarray(value)).hexdigest()
    return sha256(json.dumps(value, sort_keys=True, default=_digest).encode()).hexdigest()
