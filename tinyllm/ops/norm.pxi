cdef int one_per_channel(str op, object x, object w) except -1:
    if w.shape != x.shape[-1:]:
        raise ValueError(f"{op} needs weights of shape {x.shape[-1:]} for x {x.shape}, got {w.shape}")
    return 0


def layernorm(x, w, b, eps=1e-5):
    x, w, b = f32(x, "x", 1), f32(w, "w"), f32(b, "b")
    one_per_channel("layernorm", x, w)
    one_per_channel("layernorm", x, b)
    y, mean, rstd = empty(x.shape), empty(x.shape[:-1]), empty(x.shape[:-1])
    cdef float *out = <float *>address(y)
    cdef float *out_mean = <float *>address(mean)
    cdef float *out_rstd = <float *>address(rstd)
    cdef const float *in_x = <const float *>address(x)
    cdef const float *in_w = <const float *>address(w)
    cdef const float *in_b = <const float *>address(b)
    cdef float small = eps
    cdef int64_t rows = rows_of(x), c = x.shape[-1]
    with nogil:
        kernels.layernorm(out, out_mean, out_rstd, in_x, in_w, in_b, small, rows, c)
    return y, mean, rstd


def layernorm_backward(dy, x, w, mean, rstd):
    dy, x, w, mean, rstd = f32(dy, "dy"), f32(x, "x", 1), f32(w, "w"), f32(mean, "mean"), f32(rstd, "rstd")
    same_shape(dy, "dy", x, "x")
    one_per_channel("layernorm_backward", x, w)
    must_be(mean, "mean", x.shape[:-1])
    must_be(rstd, "rstd", x.shape[:-1])
    dx, dw, db = empty(x.shape), empty(w.shape), empty(w.shape)
    cdef float *out_dx = <float *>address(dx)
    cdef float *out_dw = <float *>address(dw)
    cdef float *out_db = <float *>address(db)
    cdef const float *in_dy = <const float *>address(dy)
    cdef const float *in_x = <const float *>address(x)
    cdef const float *in_w = <const float *>address(w)
    cdef const float *in_mean = <const float *>address(mean)
    cdef const float *in_rstd = <const float *>address(rstd)
    cdef int64_t rows = rows_of(x), c = x.shape[-1]
    with nogil:
        kernels.layernorm_backward(out_dx, out_dw, out_db, in_dy, in_x, in_w, in_mean, in_rstd, rows, c)
    return dx, dw, db


def rmsnorm(x, w, eps=1e-5):
    x, w = f32(x, "x", 1), f32(w, "w")
    one_per_channel("rmsnorm", x, w)
    y, rstd = empty(x.shape), empty(x.shape[:-1])
    cdef float *out = <float *>address(y)
    cdef float *out_rstd = <float *>address(rstd)
    cdef const float *in_x = <const float *>address(x)
    cdef const float *in_w = <const float *>address(w)
    cdef float small = eps
    cdef int64_t rows = rows_of(x), c = x.shape[-1]
    with nogil:
        kernels.rmsnorm(out, out_rstd, in_x, in_w, small, rows, c)
    return y, rstd


def rmsnorm_backward(dy, x, w, rstd):
    dy, x, w, rstd = f32(dy, "dy"), f32(x, "x", 1), f32(w, "w"), f32(rstd, "rstd")
    same_shape(dy, "dy", x, "x")
    one_per_channel("rmsnorm_backward", x, w)
    must_be(rstd, "rstd", x.shape[:-1])
    dx, dw = empty(x.shape), empty(w.shape)
    cdef float *out_dx = <float *>address(dx)
    cdef float *out_dw = <float *>address(dw)
    cdef const float *in_dy = <const float *>address(dy)
    cdef const float *in_x = <const float *>address(x)
    cdef const float *in_w = <const float *>address(w)
    cdef const float *in_rstd = <const float *>address(rstd)
    cdef int64_t rows = rows_of(x), c = x.shape[-1]
    with nogil:
        kernels.rmsnorm_backward(out_dx, out_dw, in_dy, in_x, in_w, in_rstd, rows, c)
    return dx, dw
