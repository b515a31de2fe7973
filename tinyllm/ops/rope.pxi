cdef object rope_turned(object x, object cos, object sin, bint backward):
    x, cos, sin = f32(x, "dy" if backward else "x"), f32(cos, "cos"), f32(sin, "sin")
    tables = ((), ()) if x.ndim != 4 else (x.shape[1:2] + (x.shape[3] // 2,), x.shape[:2] + (x.shape[3] // 2,))
    if x.ndim != 4 or x.shape[3] % 2 or cos.shape not in tables or sin.shape != cos.shape:
        shapes = f"{x.shape}, {cos.shape} and {sin.shape}"
        raise ValueError(f"rope needs x (B, T, H, D) and two tables (T, D/2) or (B, T, D/2), got {shapes}")
    y = empty(x.shape)
    if x.size == 0:  # there may be any number of empty tokens
        return y
    cdef float *out = <float *>address(y)
    cdef const float *inp = <const float *>address(x)
    cdef const float *c = <const float *>address(cos)
    cdef const float *s = <const float *>address(sin)
    cdef int64_t b = x.shape[0], t = x.shape[1], h = x.shape[2], half = x.shape[3] // 2
    if cos.ndim == 3:  # a table row for every token: then the batch is one long row
        b, t = 1, b * t
    with nogil:
        if backward:
            kernels.rope_backward(out, inp, c, s, b, t, h, half)
        else:
            kernels.rope(out, inp, c, s, b, t, h, half)
    return y


def rope(x, cos, sin):
    return rope_turned(x, cos, sin, False)


def rope_backward(dy, cos, sin):
    return rope_turned(dy, cos, sin, True)
