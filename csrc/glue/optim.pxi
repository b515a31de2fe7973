cdef object changed(object x, str name):
    """Check an array that is changed in place: it must be contiguous and writeable, since a copy would not do."""
    if f32(x, name) is not x:
        raise ValueError(f"{name} is changed in place and so it must be contiguous; pass a contiguous array")
    if not x.flags.writeable:
        raise ValueError(f"{name} is changed in place, but it is read-only; pass a copy")
    return x


def adamw_step(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, grad_scale=1.0):
    w, g, m, v = changed(w, "w"), f32(g, "g"), changed(m, "m"), changed(v, "v")
    run_adamw_step(w, m, v, g, w.size, step, lr, beta1, beta2, eps, weight_decay, grad_scale)


def grad_norm(grads):
    cdef double total = 0
    for g in grads:
        g = f32(g, "a gradient")
        total = run_sum_squares(total, empty((g.size // 4096 + 1,), F64), g, g.size)
    return math.sqrt(total)
