def layernorm(x, w, b, eps=1e-5):
    x, w, b = f32(x, "x", 1), f32(w, "w"), f32(b, "b")
    y, mean, rstd = empty(x.shape), empty(x.shape[:-1]), empty(x.shape[:-1])
    run_layernorm(y, mean, rstd, x, w, b, eps, rows_of(x), x.shape[-1])
    return y, mean, rstd


def layernorm_backward(dy, x, w, mean, rstd):
    dy, x, w, mean, rstd = f32(dy, "dy"), f32(x, "x", 1), f32(w, "w"), f32(mean, "mean"), f32(rstd, "rstd")
    dx, dw, db = empty(x.shape), empty(w.shape), empty(w.shape)
    run_layernorm_backward(dx, dw, db, dy, x, w, mean, rstd, rows_of(x), x.shape[-1])
    return dx, dw, db


def rmsnorm(x, w, eps=1e-5):
    x, w = f32(x, "x", 1), f32(w, "w")
    y, rstd = empty(x.shape), empty(x.shape[:-1])
    run_rmsnorm(y, rstd, x, w, eps, rows_of(x), x.shape[-1])
    return y, rstd


def rmsnorm_backward(dy, x, w, rstd):
    dy, x, w, rstd = f32(dy, "dy"), f32(x, "x", 1), f32(w, "w"), f32(rstd, "rstd")
    dx, dw = empty(x.shape), empty(w.shape)
    run_rmsnorm_backward(dx, dw, dy, x, w, rstd, rows_of(x), x.shape[-1])
    return dx, dw
