cdef object checked_lengths(object lengths, object q, object k, object v):
    """Check the shapes of attention's inputs as the spec does; return lengths as int64, or None."""
    if q.ndim != 4 or k.ndim != 4 or k.shape != v.shape or q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3]:
        raise ValueError(f"attention needs q (B, S, H, D) and k, v (B, T, K, D), got {q.shape}, {k.shape} and {v.shape}")
    if q.shape[3] == 0 or k.shape[2] == 0 or q.shape[2] % k.shape[2]:
        raise ValueError("attention needs D >= 1 and H a multiple of K, "
                         f"got D = {q.shape[3]}, H = {q.shape[2]}, K = {k.shape[2]}")
    if max(q.shape[1], 128) * max(k.shape[1], 64) * max(q.shape[2], 1) * q.shape[3] > 1 << 62:  # empty arrays may be of any length
        raise MemoryError(f"attention has more terms than 64 bits can count, for q {q.shape} and k {k.shape}")
    if lengths is None:
        return None
    lengths = ints(lengths, "lengths")
    cdef int64_t T = k.shape[1], rows = q.shape[0], i
    cdef bint fits = lengths.shape == (rows,)
    cdef const int64_t *n = <const int64_t *>address(lengths)
    if fits:  # not by NumPy, which takes longer for this than the kernel for one query
        for i in range(rows):
            fits = fits and 0 <= n[i] <= T
    if not fits:
        raise ValueError(f"attention needs one length in 0..{k.shape[1]} for each of {q.shape[0]} rows, got {lengths.tolist()}")
    return lengths


def attention(q, k, v, causal=True, lengths=None):
    q, k, v = f32(q, "q"), f32(k, "k"), f32(v, "v")
    lengths = checked_lengths(lengths, q, k, v)
    cdef int64_t B = q.shape[0], S = q.shape[1], T = k.shape[1], H = q.shape[2], K = k.shape[2], D = q.shape[3]
    y, lse = empty(q.shape), empty((B, H, S))
    cdef float *y_out = <float *>address(y)
    cdef float *lse_out = <float *>address(lse)
    cdef const float *q_in = <const float *>address(q)
    cdef const float *k_in = <const float *>address(k)
    cdef const float *v_in = <const float *>address(v)
    cdef const int64_t *n = NULL if lengths is None else <const int64_t *>address(lengths)
    cdef float scale = 1.0 / sqrt(<double>D)
    cdef int hide = bool(causal), failed
    with nogil:
        failed = kernels.attention(y_out, lse_out, q_in, k_in, v_in, n, B, S, T, H, K, D, scale, hide)
    if failed:
        raise MemoryError("no memory for attention's workspace")
    return y, lse


def attention_backward(dy, q, k, v, y, lse, causal=True, lengths=None):
    dy, q, k, v, y, lse = f32(dy, "dy"), f32(q, "q"), f32(k, "k"), f32(v, "v"), f32(y, "y"), f32(lse, "lse")
    lengths = checked_lengths(lengths, q, k, v)
    cdef int64_t B = q.shape[0], S = q.shape[1], T = k.shape[1], H = q.shape[2], K = k.shape[2], D = q.shape[3]
    must_be(dy, "dy", q.shape)
    must_be(y, "y", q.shape)
    must_be(lse, "lse", (B, H, S))
    dq, dk, dv = empty(q.shape), empty(k.shape), empty(v.shape)
    cdef float *dq_out = <float *>address(dq)
    cdef float *dk_out = <float *>address(dk)
    cdef float *dv_out = <float *>address(dv)
    cdef const float *dy_in = <const float *>address(dy)
    cdef const float *q_in = <const float *>address(q)
    cdef const float *k_in = <const float *>address(k)
    cdef const float *v_in = <const float *>address(v)
    cdef const float *y_in = <const float *>address(y)
    cdef const float *lse_in = <const float *>address(lse)
    cdef const int64_t *n = NULL if lengths is None else <const int64_t *>address(lengths)
    cdef float scale = 1.0 / sqrt(<double>D)
    cdef int hide = bool(causal), failed
    with nogil:
        failed = kernels.attention_backward(dq_out, dk_out, dv_out, dy_in, q_in, k_in, v_in, y_in, lse_in, n,
                                            B, S, T, H, K, D, scale, hide)
    if failed:
        raise MemoryError("no memory for attention's workspace")
    return dq, dk, dv


cdef object one_per_query(object x, str name, object q):
    x = ints(x, name)
    must_be(x, name, q.shape[:2])
    return x


cdef object full_bias(object bias, object q, object k):
    """A bias that broadcasts to (H, S, T) as a contiguous array (H, 1 or S, T)."""
    bias = f32(bias, "bias")
    H, S, T = q.shape[2], q.shape[1], k.shape[1]
    if bias.ndim > 3 or any(n not in (1, m) for n, m in zip(bias.shape[::-1], (T, S, H))):
        raise ValueError(f"attention_ranges needs a bias that broadcasts to {(H, S, T)}, got {bias.shape}")
    bias = bias.reshape((1,) * (3 - bias.ndim) + bias.shape)
    return np.ascontiguousarray(np.broadcast_to(bias, (H, bias.shape[1], T)))


def attention_ranges(q, k, v, starts, ends, bias=None):
    q, k, v = f32(q, "q"), f32(k, "k"), f32(v, "v")
    checked_lengths(None, q, k, v)
    starts, ends = one_per_query(starts, "starts", q), one_per_query(ends, "ends", q)
    bias = None if bias is None else full_bias(bias, q, k)
    cdef int64_t B = q.shape[0], S = q.shape[1], T = k.shape[1], H = q.shape[2], K = k.shape[2], D = q.shape[3]
    y, lse = empty(q.shape), empty((B, H, S))
    cdef float *y_out = <float *>address(y)
    cdef float *lse_out = <float *>address(lse)
    cdef const float *q_in = <const float *>address(q)
    cdef const float *k_in = <const float *>address(k)
    cdef const float *v_in = <const float *>address(v)
    cdef const int64_t *from_in = <const int64_t *>address(starts)
    cdef const int64_t *to_in = <const int64_t *>address(ends)
    cdef const float *bias_in = NULL if bias is None else <const float *>address(bias)
    cdef int64_t bias_rows = 1 if bias is None else bias.shape[1]
    cdef float scale = 1.0 / sqrt(<double>D)
    cdef int failed
    with nogil:
        failed = kernels.attention_ranges(y_out, lse_out, q_in, k_in, v_in, from_in, to_in, bias_in, bias_rows,
                                          B, S, T, H, K, D, scale)
    if failed:
        raise MemoryError("no memory for attention's workspace")
    return y, lse


def attention_ranges_backward(dy, q, k, v, starts, ends, bias, y, lse):
    dy, q, k, v, y, lse = f32(dy, "dy"), f32(q, "q"), f32(k, "k"), f32(v, "v"), f32(y, "y"), f32(lse, "lse")
    checked_lengths(None, q, k, v)
    starts, ends = one_per_query(starts, "starts", q), one_per_query(ends, "ends", q)
    whole = None if bias is None else full_bias(bias, q, k)
    cdef int64_t B = q.shape[0], S = q.shape[1], T = k.shape[1], H = q.shape[2], K = k.shape[2], D = q.shape[3]
    must_be(dy, "dy", q.shape)
    must_be(y, "y", q.shape)
    must_be(lse, "lse", (B, H, S))
    dq, dk, dv = empty(q.shape), empty(k.shape), empty(v.shape)
    dbias = None if bias is None else empty(whole.shape)
    cdef float *dq_out = <float *>address(dq)
    cdef float *dk_out = <float *>address(dk)
    cdef float *dv_out = <float *>address(dv)
    cdef float *dbias_out = NULL if bias is None else <float *>address(dbias)
    cdef const float *dy_in = <const float *>address(dy)
    cdef const float *q_in = <const float *>address(q)
    cdef const float *k_in = <const float *>address(k)
    cdef const float *v_in = <const float *>address(v)
    cdef const float *y_in = <const float *>address(y)
    cdef const float *lse_in = <const float *>address(lse)
    cdef const int64_t *from_in = <const int64_t *>address(starts)
    cdef const int64_t *to_in = <const int64_t *>address(ends)
    cdef const float *bias_in = NULL if bias is None else <const float *>address(whole)
    cdef int64_t bias_rows = 1 if bias is None else whole.shape[1]
    cdef float scale = 1.0 / sqrt(<double>D)
    cdef int failed
    with nogil:
        failed = kernels.attention_ranges_backward(dq_out, dk_out, dv_out, dbias_out, dy_in, q_in, k_in, v_in, y_in,
                                                   lse_in, from_in, to_in, bias_in, bias_rows, B, S, T, H, K, D, scale)
    if failed:
        raise MemoryError("no memory for attention's workspace")
    return dq, dk, dv, None if bias is None else summed_to(dbias, bias.shape)
