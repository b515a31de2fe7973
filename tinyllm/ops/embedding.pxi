cdef object ids_below(str name, object ids, int64_t n):
    """Check that ids are integers in 0..n-1; return them as contiguous int64."""
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name} needs integer ids, got {ids.dtype}; use ids.astype(np.int32)")
    ids = contiguous(ids.astype(np.int64, copy=False))
    cdef const int64_t *id = <const int64_t *>address(ids)
    cdef int64_t count = ids.size
    for i in range(count):
        if not 0 <= id[i] < n:
            raise IndexError(f"{name}: id {id[i]} is outside 0..{n - 1} (V = {n})")
    return ids


def embedding(w, ids):
    w = f32(w, "w")
    if w.ndim != 2:
        raise ValueError(f"embedding needs a table w (V, C), got shape {w.shape}")
    ids = ids_below("embedding", ids, w.shape[0])
    y = empty(ids.shape + w.shape[1:])
    cdef float *out = <float *>address(y)
    cdef const float *table = <const float *>address(w)
    cdef const int64_t *id = <const int64_t *>address(ids)
    cdef int64_t tokens = ids.size, c = w.shape[1]
    with nogil:
        kernels.embedding(out, table, id, tokens, c)
    return y


def embedding_backward(dy, ids, vocab_size):
    dy = f32(dy, "dy", 1)
    if vocab_size < 0:
        raise ValueError(f"embedding_backward needs a vocab_size of 0 or more, got {vocab_size}")
    ids = ids_below("embedding", ids, vocab_size)
    must_be(dy, "dy", ids.shape + dy.shape[-1:])
    dw = empty((vocab_size, dy.shape[-1]))
    cdef float *out = <float *>address(dw)
    cdef const float *inp = <const float *>address(dy)
    cdef const int64_t *id = <const int64_t *>address(ids)
    cdef int64_t tokens = ids.size, v = vocab_size, c = dy.shape[-1]
    with nogil:
        kernels.embedding_backward(out, inp, id, tokens, v, c)
    return dw
