cdef object class_ids(object targets, object logits, object ignore_index):
    """Check that every target that counts is a token id; return them as contiguous int64."""
    targets = ints(targets, "targets")
    if targets.shape != logits.shape[:-1]:
        raise ValueError(f"cross_entropy needs logits (..., V) and targets (...), got {logits.shape} and {targets.shape}")
    cdef const int64_t *t = <const int64_t *>address(targets)
    cdef int64_t i, n = targets.size, ignore = ignore_index, v = logits.shape[-1]
    if ignore != ignore_index:
        raise TypeError(f"cross_entropy needs a whole number as ignore_index, got {ignore_index}")
    for i in range(n):
        if (t[i] < 0 or t[i] >= v) and t[i] != ignore:
            raise ValueError(f"cross_entropy: target {t[i]} is outside 0..{v - 1} and is not ignore_index ({ignore})")
    return targets


def cross_entropy(logits, targets, ignore_index=-100):
    logits = f32(logits, "logits", 1)
    targets = class_ids(targets, logits, ignore_index)
    loss, lse = empty(()), empty(logits.shape[:-1])
    cdef float *out_loss = <float *>address(loss)
    cdef float *out_lse = <float *>address(lse)
    cdef const float *x = <const float *>address(logits)
    cdef const int64_t *t = <const int64_t *>address(targets)
    cdef int64_t ignore = ignore_index, rows = rows_of(logits), v = logits.shape[-1]
    with nogil:
        kernels.cross_entropy(out_loss, out_lse, x, t, ignore, rows, v)
    return loss, lse


def cross_entropy_backward(dloss, logits, targets, lse, ignore_index=-100):
    dloss, logits, lse = np.asarray(dloss), f32(logits, "logits", 1), f32(lse, "lse")
    targets = class_ids(targets, logits, ignore_index)
    must_be(dloss, "dloss", ())
    must_be(lse, "lse", targets.shape)
    dlogits = empty(logits.shape)
    cdef float *out = <float *>address(dlogits)
    cdef float d = dloss
    cdef const float *x = <const float *>address(logits)
    cdef const int64_t *t = <const int64_t *>address(targets)
    cdef const float *l = <const float *>address(lse)
    cdef int64_t ignore = ignore_index, rows = rows_of(logits), v = logits.shape[-1]
    with nogil:
        kernels.cross_entropy_backward(out, d, x, t, l, ignore, rows, v)
    return dlogits
