ctypedef void (*row_kernel)(float *, const float *, int64_t, int64_t) noexcept nogil
ctypedef void (*row_backward_kernel)(float *, const float *, const float *, int64_t, int64_t) noexcept nogil


cdef object by_row(row_kernel kernel, object x):
    """y = kernel(x), row by row."""
    x = f32(x, "x", 1)
    y = empty(x.shape)
    cdef float *out = <float *>address(y)
    cdef const float *inp = <const float *>address(x)
    cdef int64_t rows = rows_of(x), n = x.shape[-1]
    if n > 0:  # else there may be any number of empty rows
        with nogil:
            kernel(out, inp, rows, n)
    return y


cdef object by_row_backward(row_backward_kernel kernel, object dy, object y):
    """dx = kernel(dy, y), row by row."""
    dy, y = f32(dy, "dy", 1), f32(y, "y", 1)
    same_shape(dy, "dy", y, "y")
    dx = empty(y.shape)
    cdef float *out = <float *>address(dx)
    cdef const float *a = <const float *>address(dy)
    cdef const float *b = <const float *>address(y)
    cdef int64_t rows = rows_of(y), n = y.shape[-1]
    if n > 0:
        with nogil:
            kernel(out, a, b, rows, n)
    return dx


def softmax(x):
    return by_row(kernels.softmax, x)


def softmax_backward(dy, y):
    return by_row_backward(kernels.softmax_backward, dy, y)


def log_softmax(x):
    return by_row(kernels.log_softmax, x)


def log_softmax_backward(dy, y):
    return by_row_backward(kernels.log_softmax_backward, dy, y)
