ctypedef int (*row_kernel)(object, object, int64_t, int64_t) except? -1
ctypedef int (*row_backward_kernel)(object, object, object, int64_t, int64_t) except? -1


cdef object by_row(row_kernel run, object x):
    """Compute y = kernel(x), row by row."""
    x = f32(x, "x", 1)
    y = empty(x.shape)
    if x.size:  # an array without elements may have any number of rows
        run(y, x, rows_of(x), x.shape[-1])
    return y


cdef object by_row_backward(row_backward_kernel run, object dy, object y):
    """Compute dx = kernel(dy, y), row by row."""
    dy, y = f32(dy, "dy", 1), f32(y, "y", 1)
    dx = empty(y.shape)
    if y.size:
        run(dx, dy, y, rows_of(y), y.shape[-1])
    return dx


def softmax(x):
    return by_row(run_softmax, x)


def softmax_backward(dy, y):
    return by_row_backward(run_softmax_backward, dy, y)


def log_softmax(x):
    return by_row(run_log_softmax, x)


def log_softmax_backward(dy, y):
    return by_row_backward(run_log_softmax_backward, dy, y)
