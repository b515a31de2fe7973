"""Let several processes that mpiexec started speak with one voice, and end together."""

import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tinyllm.errors import UserError
from tinyllm.parallel.mpi import connect, launched


@contextmanager
def one_voice(tell: Callable[[BaseException], int], words: list[str]) -> Iterator[None]:
    """Run a `with` block in each process: only process 0 prints, and an error in any process ends all.

    `tell(error)` prints an error and returns the exit code of all. Only the first process that fails prints.
    Raises UserError if `words` are another command than train, which all processes would do alike.
    """
    shown, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    if launched()[0] > 0:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    group: Any = connect()
    try:
        if group.size > 1 and words and words[0] != "train" and not words[0].startswith("-"):
            raise UserError(f"several processes can only train: start tinyllm {words[0]} without mpiexec")
        yield
    except BaseException as error:
        if group.size == 1 or (isinstance(error, SystemExit) and not error.code):  # after --help
            raise
        first = group.first_to_fail()
        os.dup2(shown if first else nowhere, 2)
        try:
            code = tell(error)
        except BaseException:  # a bug of the library, or sys.exit in a user's code
            traceback.print_exc()
            code = 1
        os.dup2(nowhere, 2)  # without MPI's own message
        time.sleep(0.3 if first else 5)  # so that mpiexec passes on what the first says, before it ends all
        group.comm.Abort(code)
