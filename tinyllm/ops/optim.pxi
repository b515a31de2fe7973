cdef object changed(object x, str name):
    """Check an array that is changed in place: it cannot be copied first."""
    x = f32(x, name)
    if not x.flags.writeable:
        raise ValueError(f"{name} is changed in place, but it is read-only; pass a copy")
    return x


def adamw_step(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, grad_scale=1.0):
    for name, x in (("w", w), ("m", m), ("v", v)):
        if changed(x, name) is not x:
            raise ValueError(f"{name} is changed in place and so it must be contiguous; pass a contiguous array")
    g = f32(g, "g")
    if not (w.shape == g.shape == m.shape == v.shape) or step < 1 or step % 1:
        shapes = f"{w.shape}, {g.shape}, {m.shape} and {v.shape}"
        raise ValueError(f"adamw_step needs one shape and a whole step >= 1, got {shapes}, and step {step}")
    cdef float *ww = <float *>address(w)
    cdef float *mm = <float *>address(m)
    cdef float *vv = <float *>address(v)
    cdef const float *gg = <const float *>address(g)
    cdef int64_t n = w.size, t = step
    cdef double rate = lr, b1 = beta1, b2 = beta2, e = eps, decay = weight_decay, factor = grad_scale
    with nogil:
        kernels.adamw_step(ww, mm, vv, gg, n, t, rate, b1, b2, e, decay, factor)


def grad_norm(grads):
    cdef double total = 0
    cdef double *scratch
    cdef const float *start
    cdef int64_t n
    for g in grads:
        g = f32(g, "a gradient")
        n = g.size
        room = empty((n // 4096 + 1,), F64)
        scratch = <double *>address(room)
        start = <const float *>address(g)
        with nogil:
            total = kernels.sum_squares(total, scratch, start, n)
    return math.sqrt(total)


def clip_grads(grads, norm, limit):
    grads = list(grads)
    checked = [f32(g, "a gradient") for g in grads]
    if limit < 0:
        raise ValueError(f"clip_grads needs a limit of at least 0, got {limit}")
    if not norm > limit:
        return grads
    cdef float factor = float(limit) / float(norm)
    cdef float *out
    cdef const float *start
    cdef int64_t n
    clipped = []
    for g in checked:
        y = empty(g.shape)
        out = <float *>address(y)
        start = <const float *>address(g)
        n = g.size
        with nogil:
            kernels.scale(out, start, factor, n)
        clipped.append(y)
    return clipped
