cdef object rotated(object x, object cos, object sin, bint backward):
    x, cos, sin = f32(x, "dy" if backward else "x"), f32(cos, "cos"), f32(sin, "sin")
    y = empty(x.shape)
    if x.size == 0:  # an array without elements may have any number of tokens
        return y
    cdef int64_t b = x.shape[0], t = x.shape[1]
    if cos.ndim == 3:  # each token has its own row of the tables: treat the batch as one long row
        b, t = 1, b * t
    run_rope(y, x, cos, sin, b, t, x.shape[2], x.shape[3] // 2, backward)
    return y


def rope(x, cos, sin):
    return rotated(x, cos, sin, False)


def rope_backward(dy, cos, sin):
    return rotated(dy, cos, sin, True)
