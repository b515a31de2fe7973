cdef object filtered(str name, object logits, double number, int64_t k=0):
    """Run one of the filters on rows of logits."""
    logits = f32(logits, "logits", 1)
    y = empty(logits.shape)
    cdef float *out = <float *>address(y)
    cdef const float *inp = <const float *>address(logits)
    cdef int64_t rows = rows_of(logits), n = logits.shape[-1]
    if name == "top_k":
        with nogil:
            kernels.top_k(out, inp, k, rows, n)
    elif name == "top_p":
        with nogil:
            kernels.top_p(out, inp, number, rows, n)
    else:
        with nogil:
            kernels.min_p(out, inp, number, rows, n)
    return y


def temperature(logits, t):
    if not t > 0:
        raise ValueError(f"temperature needs t > 0, got {t}; for the most likely token take the argmax")
    logits = f32(logits, "logits")
    y = empty(logits.shape)
    cdef float *out = <float *>address(y)
    cdef const float *inp = <const float *>address(logits)
    cdef int64_t n = logits.size
    cdef float divisor = t
    with nogil:
        kernels.temperature(out, inp, divisor, n)
    return y


def top_k(logits, k):
    if k < 1 or k % 1:
        raise ValueError(f"top_k needs a whole number k >= 1, got {k}")
    return filtered("top_k", logits, 0, min(k, 1 << 62))


def top_p(logits, p):
    if not 0 < p <= 1:
        raise ValueError(f"top_p needs 0 < p <= 1, got {p}")
    return filtered("top_p", logits, p)


def min_p(logits, p):
    if not 0 <= p <= 1:
        raise ValueError(f"min_p needs 0 <= p <= 1, got {p}")
    return filtered("min_p", logits, p)


def repetition_penalty(logits, ids, penalty):
    if not penalty > 0:
        raise ValueError(f"repetition_penalty needs penalty > 0, got {penalty}")
    logits = f32(logits, "logits", 1)
    ids = ids_below("repetition_penalty", ids, logits.shape[-1])
    if ids.ndim < 1:
        raise ValueError("repetition_penalty needs ids (..., n), got a single number; pass ids[None]")
    ids = contiguous(np.broadcast_to(ids, logits.shape[:-1] + ids.shape[-1:]))
    y = empty(logits.shape)
    cdef float *out = <float *>address(y)
    cdef const float *inp = <const float *>address(logits)
    cdef const int64_t *id = <const int64_t *>address(ids)
    cdef int64_t rows = rows_of(logits), n = logits.shape[-1], used = ids.shape[-1]
    cdef float factor = penalty
    with nogil:
        kernels.repetition_penalty(out, inp, id, factor, rows, n, used)
    return y


def sample(probs, u):
    probs = f32(probs, "probs", 1)
    u = contiguous(np.broadcast_to(np.asarray(u, F64), probs.shape[:-1]))
    ids = empty(probs.shape[:-1], I64)
    cdef int64_t *out = <int64_t *>address(ids)
    cdef const float *inp = <const float *>address(probs)
    cdef const double *aim = <const double *>address(u)
    cdef int64_t rows = rows_of(probs), n = probs.shape[-1]
    with nogil:
        kernels.sample(out, inp, aim, rows, n)
    for i in range(rows):
        if out[i] < 0:
            raise ValueError("sample needs a positive, finite sum of probabilities in every row; "
                             "are logits NaN?")
    return ids
