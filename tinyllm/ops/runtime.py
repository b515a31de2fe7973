"""Load the compiled kernels, and set their threads.

Without kernels (no C compiler was at hand) everything here still works, and ops run on their specifications.
"""

import os
import warnings
from typing import Any

import numpy as np

from tinyllm.errors import UserError

BUILD = "b2aa343b6366"  # digest of what Python calls in csrc/ (csrc/bindings.py), compared with the kernels'
STALE = "the kernels were built from older source: build again with `python -m pip install --editable .`"
BACKENDS = ("compiled", "numpy")


def load_kernels() -> tuple[Any, UserError | None]:
    """Import the kernels -> (their module or None, the error that the first op must raise or None)."""
    try:
        from tinyllm.ops import _compiled  # type: ignore[attr-defined]
    except ImportError:  # installed without a C compiler: the specifications run
        return None, None
    except UserError as error:  # TINYLLM_CPU or TINYLLM_THREADS has a value that this machine lacks
        return None, error
    return (_compiled, None) if getattr(_compiled, "BUILD", "") == BUILD else (None, UserError(STALE))


def first_backend() -> str:
    """Return the backend from TINYLLM_BACKEND, or else the best one; warn if there are no kernels.

    Raises UserError when the variable names an unknown backend, or kernels that were not built.
    """
    asked = os.environ.get("TINYLLM_BACKEND")
    if asked and asked not in BACKENDS:
        raise UserError(f"TINYLLM_BACKEND={asked}: choose one of {', '.join(BACKENDS)}")
    if asked == "compiled" and _compiled is None:
        raise UserError("TINYLLM_BACKEND=compiled needs the kernels: install a C compiler and reinstall")
    if not asked and _compiled is None and startup_error is None:
        message = "tinyllm runs on its NumPy specs: no compiled kernels were built (see `tinyllm doctor`)"
        warnings.warn(message, stacklevel=2)
    return asked or ("numpy" if _compiled is None else "compiled")


def threads(n: int | None = None) -> int:
    """Set the kernels' number of threads to n, if given, and return the number. It changes no results.

    Without kernels the number is 1, because NumPy's threads are not counted. Raises UserError unless n >= 1.
    """
    if n is not None and n < 1:
        raise UserError(f"threads must be at least 1, got {n}")
    return 1 if _compiled is None else _compiled.threads(n)


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return an uninitialised array, from the memory pool of the kernels if there is one."""
    return np.empty(shape, dtype) if _compiled is None else _compiled.empty(shape, np.dtype(dtype))


_compiled, startup_error = load_kernels()
try:
    default_backend = first_backend()
except UserError as error:
    default_backend, startup_error = "numpy", error
