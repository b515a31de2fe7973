cdef tuple attend(object q, object k, object v, bint causal, object lengths, object starts, object ends, object bias):
    """Compute attention with lengths, or with ranges and a bias; each of these may be None."""
    cdef bint halves = isinstance(k, ndarray) and isinstance(v, ndarray) and k.dtype == U16 and v.dtype == U16
    q = f32(q, "q")
    k, v = (contiguous(k), contiguous(v)) if halves else (f32(k, "k"), f32(v, "v"))
    countable(q, k)
    bias = full_bias(bias, q, k)
    cdef int64_t B = q.shape[0], S = q.shape[1], T = k.shape[1], H = q.shape[2], K = k.shape[2], D = q.shape[3]
    cdef int64_t bias_rows = 1 if bias is None else bias.shape[1]
    y, lse = empty(q.shape), empty((B, H, S))
    run_attention(y, lse, q, None if halves else k, None if halves else v, k if halves else None,
                  v if halves else None, lengths, starts, ends, bias, bias_rows, B, S, T, H, K, D,
                  1.0 / sqrt(<double>D), causal)
    return y, lse


cdef tuple attend_backward(object dy, object q, object k, object v, object y, object lse, bint causal, object lengths,
                           object starts, object ends, object bias):
    """Compute the gradients of `attend`: dq, dk, dv, and dbias or None."""
    dy, q, k, v, y, lse = f32(dy, "dy"), f32(q, "q"), f32(k, "k"), f32(v, "v"), f32(y, "y"), f32(lse, "lse")
    countable(q, k)
    bias = full_bias(bias, q, k)
    cdef int64_t B = q.shape[0], S = q.shape[1], T = k.shape[1], H = q.shape[2], K = k.shape[2], D = q.shape[3]
    cdef int64_t bias_rows = 1 if bias is None else bias.shape[1]
    dq, dk, dv, dbias = empty(q.shape), empty(k.shape), empty(v.shape), None if bias is None else empty(bias.shape)
    run_attention_backward(dq, dk, dv, dbias, dy, q, k, v, y, lse, lengths, starts, ends, bias, bias_rows, B, S, T, H,
                           K, D, 1.0 / sqrt(<double>D), causal)
    return dq, dk, dv, dbias


cdef int countable(object q, object k) except -1:
    if max(q.shape[1], 128) * max(k.shape[1], 64) * max(q.shape[2], 1) * q.shape[3] > 1 << 62:  # if arrays are empty
        raise MemoryError(f"attention has more terms than 64 bits can count, for q {q.shape} and k {k.shape}")
    return 0


cdef object full_bias(object bias, object q, object k):
    """Return a bias that broadcasts to (H, S, T) as a contiguous array (H, 1 or S, T)."""
    if bias is None:
        return None
    bias = f32(bias, "bias")
    bias = bias.reshape((1,) * (3 - bias.ndim) + bias.shape)
    return np.ascontiguousarray(np.broadcast_to(bias, (q.shape[2], bias.shape[1], k.shape[1])))


def attention(q, k, v, causal=True, lengths=None):
    return attend(q, k, v, bool(causal), None if lengths is None else ints(lengths, "lengths"), None, None, None)


def attention_backward(dy, q, k, v, y, lse, causal=True, lengths=None):
    lengths = None if lengths is None else ints(lengths, "lengths")
    return attend_backward(dy, q, k, v, y, lse, bool(causal), lengths, None, None, None)[:3]


def attention_ranges(q, k, v, starts, ends, bias=None):
    return attend(q, k, v, False, None, ints(starts, "starts"), ints(ends, "ends"), bias)


def attention_ranges_backward(dy, q, k, v, starts, ends, bias, y, lse):
    starts, ends = ints(starts, "starts"), ints(ends, "ends")
    dq, dk, dv, dbias = attend_backward(dy, q, k, v, y, lse, False, None, starts, ends, bias)
    return dq, dk, dv, None if bias is None else summed_to(dbias, bias.shape)
