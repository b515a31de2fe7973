"""Choose a run for the commands whose RUN may be left out."""

import sys

from tinyllm.errors import UserError
from tinyllm.models.registry import SHIPPED
from tinyllm.runs.run import list_runs

ABOUT_SHIPPED = "the shipped model: 1.0M parameters; it knows only the world's stories"


def chosen(run: str | None, shipped: bool = False) -> str:
    """Return `run`, or the newest run in runs/ that has a checkpoint; print to stderr which was chosen.

    If there is none, raise UserError, or with `shipped` return the model that comes with tinyllm.
    """
    if run is not None:
        return run
    newest = next((str(found.folder) for found in list_runs() if found.last_checkpoint()), None)
    if newest is None and not shipped:
        raise UserError("runs/ has no run with a checkpoint: give a folder, or make one with `tinyllm train`")
    print(f"{newest}, the newest run" if newest else ABOUT_SHIPPED, file=sys.stderr, flush=True)
    return newest or SHIPPED.name
