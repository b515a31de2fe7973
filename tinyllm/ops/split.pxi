def split(x, n):
    x = f32(x, "x", 1)
    if not isinstance(n, int) or n < 1 or x.shape[-1] % n:
        raise ValueError(f"split cannot cut a last axis of {x.shape[-1]} into {n} equal parts")
    cdef int64_t rows = rows_of(x), row = x.shape[-1], c = row // n, i
    cdef const float *start = <const float *>address(x)
    cdef float *out
    parts = []
    for i in range(n if c else 0):
        y = empty((*x.shape[:-1], c))
        out = <float *>address(y)
        with nogil:
            kernels.copy_rows(out, c, start + i * c, row, rows, c)
        parts.append(y)
    return tuple(parts) if c else tuple(empty(x.shape) for _ in range(n))


def join(parts):
    parts = [f32(part, "a part", 1) for part in parts]
    if not parts:
        raise ValueError("join needs one part or more, got none")
    for part in parts:
        same_shape(part, "a part", parts[0], "the first")
    y = empty((*parts[0].shape[:-1], parts[0].shape[-1] * len(parts)))
    cdef int64_t rows = rows_of(y), c = parts[0].shape[-1], row = y.shape[-1], i
    cdef float *out = <float *>address(y)
    cdef const float *start
    for i in range(len(parts)):
        start = <const float *>address(parts[i])
        with nogil:
            kernels.copy_rows(out + i * c, row, start, c, rows, c)
    return y
