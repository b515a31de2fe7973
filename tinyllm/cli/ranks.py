"""Let several processes that mpiexec started speak with one voice, and end together."""

import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tinyllm.parallel.mpi import connect, launched
from tinyllm.train.group import ALONE


@contextmanager
def one_voice(tell: Callable[[BaseException], int]) -> Iterator[None]:
    """Run a `with` block in each process: only process 0 prints, and an error in any process ends all.

    `tell(error)` prints an error and returns the exit code of all. Only the first process that fails prints.
    """
    (rank, _), group, shown, nowhere = launched(), ALONE, os.dup(2), os.open(os.devnull, os.O_WRONLY)
    if rank:
        for output in (1, 2):
            os.dup2(nowhere, output)
    try:
        group = connect()
        yield
    except (Exception, KeyboardInterrupt) as error:
        first = group.first_to_fail()
        if group.size > 1:
            os.dup2(shown if first else nowhere, 2)
        code = _told(tell, error)
        os.dup2(nowhere, 2)  # without MPI's own message
        if not first:
            time.sleep(5)  # meanwhile the first has said why, and ends this process, too
        group.abort(code)
        raise SystemExit(code) from None


def _told(tell, error):
    try:
        return tell(error)
    except BaseException:  # a bug of the library
        traceback.print_exc()
        return 1
