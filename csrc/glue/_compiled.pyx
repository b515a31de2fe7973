# cython: language_level=3, binding=True, embedsignature=False, freethreading_compatible=False
"""Check the arguments of kernels, allocate their results and call C. The arithmetic is in csrc/, a file per ops file.

The functions take float32 (and integers where ops do), refuse other types with one line that says what to do, copy
strided inputs, and return new contiguous arrays, whose memory comes from the pool. The kernels of ops/softmax.py are in
glue/softmax.pxi, and so on. (Only `loops` in matmul.pxi computes here, to be compared with C.)
"""

import math
import os
from operator import index

import numpy as np
cimport numpy as c_np
from libc.math cimport sqrt
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint64_t, uintptr_t

from tinyllm.errors import UserError

c_np.import_array()

cdef object F32 = np.dtype(np.float32)
cdef object F64 = np.dtype(np.float64)
cdef object I64 = np.dtype(np.int64)
cdef object I32 = np.dtype(np.int32)
cdef object I8 = np.dtype(np.int8)
cdef object U8 = np.dtype(np.uint8)
cdef object U16 = np.dtype(np.uint16)
cdef object BOOL = np.dtype(np.bool_)
cdef object ndarray = np.ndarray


cdef class Call:
    """Call an op: first its check, then its implementation. PythonCall in registry.py is the same in Python."""

    cdef public object _check, _run
    cdef public object _more  # the part of `_check` that is not about shapes, or None
    cdef public set _fitted  # shapes that `_check` has accepted, or None
    cdef public Py_ssize_t _count

    cdef bint fits(self, tuple args):
        cdef list shapes = []
        for x in args[:self._count]:
            if x is not None and type(x) is not ndarray:
                return False
            shapes.append(x if x is None else x.shape)
        return tuple(shapes) in self._fitted

    def __call__(self, *args, **kwargs):
        check = self._check
        if check is not None and self._fitted is not None and not kwargs and self.fits(args):
            check = self._more
        if check is not None:
            try:
                check(*args, **kwargs)
            except (ValueError, AttributeError) as error:
                self._refuse(error)
        return self._run(*args, **kwargs)


# --- memory -----------------------------------------------------------------------------------------------------------

cdef class Block:
    """A block of memory from the pool; it is returned when the last array that uses it is freed."""

    cdef void *start

    def __dealloc__(self):
        pool_give(self.start)


cpdef object empty(tuple shape, object dtype=F32):
    """Return an uninitialised array on a block of the pool; dtype is a np.dtype."""
    cdef c_np.npy_intp sizes[64]  # NumPy allows at most 64 axes
    cdef size_t count = (<c_np.dtype>dtype).itemsize
    cdef double most = count  # the product of integers could overflow; a double cannot
    cdef int i
    for i in range(len(shape)):
        sizes[i] = shape[i]
        count *= <size_t>sizes[i]
        most *= sizes[i]
    cdef Block block = Block.__new__(Block)
    block.start = pool_take(count) if most <= 1 << 46 else NULL
    if block.start == NULL:
        raise MemoryError(f"no memory for an array of shape {shape}")
    y = c_np.PyArray_SimpleNewFromData(len(shape), sizes, (<c_np.dtype>dtype).type_num, block.start)
    c_np.set_array_base(y, block)
    return y


cdef void *address(object array) except? NULL:
    """Return a pointer to the elements of a contiguous array, NULL for None. The caller keeps the array alive."""
    if array is None:
        return NULL
    if not c_np.PyArray_Check(array) or not c_np.PyArray_ISCARRAY_RO(array):
        raise TypeError(f"a contiguous array is needed, not {type(array).__name__}")
    return c_np.PyArray_DATA(array)


# --- checks -----------------------------------------------------------------------------------------------------------

cdef object contiguous(object x):
    """Return x if it is contiguous, aligned and in native byte order, else a copy that is."""
    return x if c_np.PyArray_ISCARRAY_RO(x) else np.array(x, order="C", copy=True)


cdef object f32(object x, str name, int least=0):
    """Check that x is a float32 array of at least `least` axes; return it contiguous."""
    if not c_np.PyArray_Check(x):
        raise TypeError(f"{name} must be a float32 array, not {type(x).__name__}; "
                        "wrap it in np.asarray(..., np.float32)")
    if x.dtype is not F32 and x.dtype != F32:
        raise TypeError(f"{name} must be float32 for the compiled kernels, not {x.dtype}; "
                        f"use {name}.astype(np.float32), or tinyllm.use('numpy')")
    if c_np.PyArray_NDIM(x) < least:
        raise ValueError(f"{name} needs at least {least} axes, got shape {x.shape}")
    return contiguous(x)


cdef object ints(object x, str name):
    """Check that x holds integers; return it as contiguous int64."""
    if type(x) is ndarray and x.dtype is I64:
        return contiguous(x)
    x = np.asarray(x)
    if x.dtype.kind not in "iu" or x.dtype == np.uint64:  # large uint64 numbers would become negative
        raise TypeError(f"{name} must be signed integers, not {x.dtype}; use {name}.astype(np.int64)")
    return contiguous(x.astype(np.int64, copy=False))


cdef int64_t rows_of(object x):
    """Return the product of all axes except the last."""
    cdef int64_t rows = 1
    cdef int i
    for i in range(c_np.PyArray_NDIM(x) - 1):
        rows *= c_np.PyArray_DIM(x, i)
    return rows


include "_kernels.pxi"

for _suffix, _bf16 in ("", False), ("_bf16", True):
    for _op in (*_products(_bf16), *_grouped_products(_bf16)):
        globals()[_op.__name__ + _suffix] = _op


# --- the machine ------------------------------------------------------------------------------------------------------

def threads(n=None):
    """Return the number of threads of the kernels, after setting it to n >= 1. Results do not depend on it."""
    if n is not None:
        if not 1 <= n <= 256:
            raise UserError(f"threads must be between 1 and 256, got {n}")
        parallel_threads(n)
    return parallel_size()


def level():
    """Return the instruction set that the kernels use, such as 'avx2'."""
    return (<bytes>kernels.level).decode()


def levels():
    """Return the instruction sets that this CPU supports, best first."""
    found = []
    cdef int i = 0
    while cpu_levels()[i] != NULL:
        found.append((<bytes>cpu_levels()[i].level).decode())
        i += 1
    return found


def use_level(name=None):
    """Choose an instruction set by name, or the best one. Raises UserError on a name that this CPU lacks."""
    cdef bytes text = b"" if name is None else name.encode()
    cdef const char *wanted = text
    if cpu_use(NULL if name is None else wanted) != 0:
        if not levels():
            raise ImportError("this CPU lacks the instructions that the compiled kernels need (AVX2 and FMA)")
        raise UserError(f"unknown CPU level {name!r}: this machine has {', '.join(levels())}")


def probe(str what, int64_t rounds=0, x=None):
    """Run a probe of the machine's limits (csrc/probe.c) -> the number of operations, or of bytes for "read".

    "fma" and "bf16" compute `rounds` rounds on registers, "read" sums the float32 array x. Returns 0 without bf16.
    """
    cdef int64_t pieces = 16 * parallel_size()
    if what == "read":
        x = f32(x, "x")
        return run_probe_read(empty(((x.size >> 16) + 1,)), x, x.size)
    return (run_probe_fma if what == "fma" else run_probe_bf16)(empty((pieces + 1,)), pieces, rounds)


def memory():
    """Return statistics of the pool: hits, misses, and bytes used, idle, peak and capacity."""
    cdef pool_state state = pool_look()
    return {"hits": state.hits, "misses": state.misses, "used": state.used, "idle": state.idle,
            "peak": state.peak, "capacity": state.capacity}


def empty_pool(capacity=None):
    """Return idle blocks to the system; with `capacity` (bytes), also set how much may be kept."""
    if capacity is None:
        pool_empty()
    elif capacity < 0:
        raise UserError(f"the pool's capacity is a number of bytes, 0 or more, not {capacity}")
    else:
        pool_cap(min(capacity, 1 << 62))


def _start():
    """Set the level and the number of threads from TINYLLM_CPU and TINYLLM_THREADS, by default the best."""
    use_level(os.environ.get("TINYLLM_CPU") or None)
    asked = os.environ.get("TINYLLM_THREADS")
    if asked:
        if not asked.isdigit():
            raise UserError(f"TINYLLM_THREADS={asked}: give a whole number from 1 to 256")
        threads(int(asked))
    else:
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads(min(cpus, 256))


_start()
