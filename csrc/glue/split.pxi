def split(x, n):
    x = f32(x, "x", 1)
    cdef int64_t rows = rows_of(x), row = x.shape[-1], c = row // n, i
    cdef const float *start = <const float *>address(x)
    parts = tuple([empty((*x.shape[:-1], c)) for _ in range(n)])
    cdef float *out
    for i in range(n if x.size else 0):
        out = <float *>address(parts[i])
        with nogil:
            kernels.copy_rows(out, c, start + i * c, row, rows, c)
    return parts


def join(parts):
    parts = [f32(part, "a part", 1) for part in parts]
    cdef int64_t rows = rows_of(parts[0]), c = parts[0].shape[-1], row = c * len(parts), i
    y = empty((*parts[0].shape[:-1], row))
    cdef float *start = <float *>address(y)
    cdef const float *inp
    for i in range(len(parts) if y.size else 0):
        inp = <const float *>address(parts[i])
        with nogil:
            kernels.copy_rows(start + i * c, row, inp, c, rows, c)
    return y
