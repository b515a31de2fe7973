cdef object class_ids(object targets, tuple shape, object v, object ignore_index):
    """Check that every target that counts is a token id -> contiguous int64 targets, the int64 to ignore."""
    targets = ints(targets, "targets")
    if targets.shape != shape:
        raise ValueError(f"cross_entropy needs logits (..., V) and targets (...), got {(*shape, v)} and {targets.shape}")
    if ignore_index != int(ignore_index):
        raise TypeError(f"cross_entropy needs a whole number as ignore_index, got {ignore_index}")
    cdef bint beyond = not -(1 << 63) <= ignore_index < 1 << 63  # then no target can be equal to it
    cdef const int64_t *t = <const int64_t *>address(targets)
    cdef int64_t i, n = targets.size, size = v, ignore = -1 if beyond else ignore_index
    for i in range(n):
        if (t[i] < 0 or t[i] >= size) and (beyond or t[i] != ignore):
            raise ValueError(f"cross_entropy: target {t[i]} is outside 0..{v - 1} and is not ignore_index ({ignore_index})")
    return targets, ignore


def token_losses(logits, targets, ignore_index=-100):
    logits = f32(logits, "logits", 1)
    targets, ignore_index = class_ids(targets, logits.shape[:-1], logits.shape[-1], ignore_index)
    losses, lse = empty(targets.shape), empty(targets.shape)
    cdef float *out = <float *>address(losses)
    cdef float *out_lse = <float *>address(lse)
    cdef const float *x = <const float *>address(logits)
    cdef const int64_t *t = <const int64_t *>address(targets)
    cdef int64_t ignore = ignore_index, rows = rows_of(logits), v = logits.shape[-1]
    with nogil:
        kernels.token_losses(out, out_lse, x, t, ignore, rows, v)
    return losses, lse


def token_losses_backward(dlosses, logits, targets, lse, ignore_index=-100):
    dlosses, logits, lse = f32(dlosses, "dlosses"), f32(logits, "logits", 1), f32(lse, "lse")
    targets, ignore_index = class_ids(targets, logits.shape[:-1], logits.shape[-1], ignore_index)
    must_be(dlosses, "dlosses", targets.shape)
    must_be(lse, "lse", targets.shape)
    dlogits = empty(logits.shape)
    cdef float *out = <float *>address(dlogits)
    cdef const float *d = <const float *>address(dlosses)
    cdef const float *x = <const float *>address(logits)
    cdef const int64_t *t = <const int64_t *>address(targets)
    cdef const float *l = <const float *>address(lse)
    cdef int64_t ignore = ignore_index, rows = rows_of(logits), v = logits.shape[-1]
    with nogil:
        kernels.token_losses_backward(out, d, x, t, l, ignore, rows, v)
    return dlogits


# The mean over the tokens that count: no kernel of its own.

cdef object count_kept(object targets, object ignore_index):
    return max(np.count_nonzero(np.asarray(targets) != ignore_index), 1)


def cross_entropy(logits, targets, ignore_index=-100):
    losses, lse = token_losses(logits, targets, ignore_index)
    return np.asarray(losses.sum(dtype=F64) / count_kept(targets, ignore_index), F32), lse


def cross_entropy_backward(dloss, logits, targets, lse, ignore_index=-100):
    must_be(np.asarray(dloss), "dloss", ())
    each = np.full(np.shape(targets), float(dloss) / count_kept(targets, ignore_index), F32)
    return token_losses_backward(each, logits, targets, lse, ignore_index)


cdef int one_row_per_token(object x, object w) except -1:
    if w.ndim != 2 or x.shape[-1:] != w.shape[1:]:
        raise ValueError(f"linear_token_losses needs x (..., C) and w (V, C), got {x.shape} and {w.shape}")
    return 0


def linear_token_losses(x, w, targets, ignore_index=-100):
    x, w = f32(x, "x", 1), f32(w, "w")
    one_row_per_token(x, w)
    targets, ignore_index = class_ids(targets, x.shape[:-1], w.shape[0], ignore_index)
    losses, lse = empty(targets.shape), empty(targets.shape)
    cdef float *out = <float *>address(losses)
    cdef float *out_lse = <float *>address(lse)
    cdef const float *in_x = <const float *>address(x)
    cdef const float *in_w = <const float *>address(w)
    cdef const int64_t *t = <const int64_t *>address(targets)
    cdef int64_t ignore = ignore_index, rows = rows_of(x), v = w.shape[0], c = w.shape[1]
    cdef int failed
    with nogil:
        failed = kernels.linear_token_losses(out, out_lse, in_x, in_w, t, ignore, rows, v, c)
    if failed:
        raise MemoryError(f"no memory for a chunk of logits with V = {v}")
    return losses, lse


def linear_token_losses_backward(dlosses, x, w, targets, lse, ignore_index=-100):
    dlosses, x, w, lse = f32(dlosses, "dlosses"), f32(x, "x", 1), f32(w, "w"), f32(lse, "lse")
    one_row_per_token(x, w)
    targets, ignore_index = class_ids(targets, x.shape[:-1], w.shape[0], ignore_index)
    must_be(dlosses, "dlosses", targets.shape)
    must_be(lse, "lse", targets.shape)
    dx, dw = empty(x.shape), empty(w.shape)
    cdef float *out_dx = <float *>address(dx)
    cdef float *out_dw = <float *>address(dw)
    cdef const float *d = <const float *>address(dlosses)
    cdef const float *in_x = <const float *>address(x)
    cdef const float *in_w = <const float *>address(w)
    cdef const int64_t *t = <const int64_t *>address(targets)
    cdef const float *l = <const float *>address(lse)
    cdef int64_t ignore = ignore_index, rows = rows_of(x), v = w.shape[0], c = w.shape[1]
    cdef int failed
    with nogil:
        failed = kernels.linear_token_losses_backward(out_dx, out_dw, d, in_x, in_w, t, l, ignore, rows, v, c)
    if failed:
        raise MemoryError(f"no memory for a chunk of logits with V = {v}")
    return dx, dw
