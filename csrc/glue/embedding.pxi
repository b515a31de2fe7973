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
    ids = ids_below("embedding", ids, w.shape[0])
    y = empty(ids.shape + w.shape[1:])
    run_embedding(y, w, ids, ids.size, w.shape[1])
    return y


def embedding_backward(dy, ids, vocab_size):
    dy = f32(dy, "dy", 1)
    ids = ids_below("embedding", ids, vocab_size)
    dw = empty((vocab_size, dy.shape[-1]))
    run_embedding_backward(dw, dy, ids, ids.size, vocab_size, dy.shape[-1])
    return dw
