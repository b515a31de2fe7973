"""Copy arrays to memory where an access outside of them ends the process."""

import ctypes
import mmap

import numpy as np


def guarded(a: np.ndarray, end: bool = True) -> np.ndarray:
    """Copy an array to read-only memory before a page without access; with end=False, after such a page.

    An access to that page, or a write, ends the process (on Linux and macOS; see `faulthandler`).
    """
    page, a = mmap.PAGESIZE, np.ascontiguousarray(a) if a.ndim else np.array(a)
    inner = -(-a.nbytes // page) * page
    memory = mmap.mmap(-1, inner + 2 * page)
    copy = np.frombuffer(memory, a.dtype, a.size, page + (inner - a.nbytes if end else 0)).reshape(a.shape)
    copy[...] = a
    start = np.frombuffer(memory, np.uint8).ctypes.data
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for first, length, allowed in ((0, page, 0), (page, inner, mmap.PROT_READ), (page + inner, page, 0)):
        if length and protect(ctypes.c_void_p(start + first), ctypes.c_size_t(length), allowed):
            raise OSError(ctypes.get_errno(), "pages cannot be protected")
    copy.flags.writeable = False
    return copy


GUARDED = {"guarded": guarded, "guarded before": lambda a: guarded(a, end=False)}
