cdef object product(object a, object b, object bias, bint transpose_a, bint transpose_b, bint bf16, bint gelu=False):
    """Compute c = a @ b + bias for contiguous float32 arrays whose leading axes broadcast; bf16 rounds a and b.
    With gelu, return (gelu_tanh(c), c)."""
    cdef tuple lead_a = a.shape[:-2], lead_b = b.shape[:-2], lead = lead_a
    cdef int64_t rows = a.shape[-1] if transpose_a else a.shape[-2]
    cdef int64_t depth = a.shape[-2] if transpose_a else a.shape[-1]
    cdef int64_t columns = b.shape[-2] if transpose_b else b.shape[-1]
    cdef int64_t stack = 1, a_stack = rows * depth, b_stack = depth * columns
    if lead_a != lead_b:
        lead = np.broadcast_shapes(lead_a, lead_b)
        if a.size == rows * depth:
            a_stack = 0
        elif lead_a != lead:
            a = np.ascontiguousarray(np.broadcast_to(a, lead + a.shape[-2:]))
        if b.size == depth * columns:
            b_stack = 0
        elif lead_b != lead:
            b = np.ascontiguousarray(np.broadcast_to(b, lead + b.shape[-2:]))
    c = empty(lead + (rows, columns))
    for n in lead:
        stack *= n
    if b_stack == 0 and not transpose_a and a_stack > 0:  # all use one b: treat the stack as more rows
        rows, stack = rows * stack, 1
    y = empty(c.shape) if gelu else None
    (run_matmul_bf16 if bf16 else run_matmul)(c, y, a, b, bias, stack, rows, columns, depth, a_stack, b_stack,
                                              transpose_a, transpose_b)
    return (y, c) if gelu else c


cdef object matrix(object x):
    """Reshape x (..., n) to (rows, n)."""
    return x if x.ndim == 2 else x.reshape(rows_of(x), x.shape[-1])


cdef object column_sums(object x):
    """Sum the rows: x (rows, n) -> (n,)."""
    y = empty((x.shape[1],))
    run_column_sum(y, x, x.shape[0], x.shape[1])
    return y


cdef object summed_to(object x, tuple shape):
    """Sum x over the axes that broadcasting added or stretched, in order, until it has the given shape."""
    if x.shape == shape:
        return x
    axes = tuple(range(x.ndim - len(shape)))
    axes += tuple(i for i in range(len(axes), x.ndim) if shape[i - len(axes)] == 1 and x.shape[i] != 1)
    kept = [i for i in range(x.ndim) if i not in axes]
    columns = int(np.prod([x.shape[i] for i in kept]))
    rows = -1 if x.size else int(np.prod([x.shape[i] for i in axes]))
    return column_sums(np.ascontiguousarray(x.transpose(*axes, *kept)).reshape(rows, columns)).reshape(shape)


cdef object layer(object x, object w, object b, bint bf16, bint gelu=False):
    x, w = f32(x, "x", 1), f32(w, "w")
    if b is not None:
        b = f32(b, "b")
    cdef tuple shape = x.shape[:-1] + w.shape[1:]
    y = product(matrix(x), w, b, False, False, bf16, gelu)
    if gelu:
        return y[0].reshape(shape), y[1].reshape(shape)
    return y if x.ndim == 2 else y.reshape(shape)


cdef tuple layer_backward(object dy, object x, object w, bint bf16):
    dy, x, w = f32(dy, "dy", 1), f32(x, "x", 1), f32(w, "w", 2)
    dy_rows = matrix(dy)
    dx = product(dy_rows, w, None, False, True, bf16)
    dw = product(matrix(x), dy_rows, None, True, False, bf16)
    return dx.reshape(x.shape), dw, column_sums(dy_rows)


def _products(bint bf16):
    """Return the ops that multiply. With bf16, operands are rounded to bfloat16 while they are packed, and sums are
    in float32. A bias and its gradient are sums, not products, and stay float32."""

    def matmul(a, b, transpose_a=False, transpose_b=False):
        return product(f32(a, "a", 2), f32(b, "b", 2), None, transpose_a, transpose_b, bf16)

    def matmul_backward(dy, a, b, transpose_a=False, transpose_b=False):
        dy, a, b = f32(dy, "dy", 2), f32(a, "a", 2), f32(b, "b", 2)
        if transpose_a:  # a holds A^T, and (dY B^T)^T = B dY^T
            da = product(b, dy, None, transpose_b, True, bf16)
        else:
            da = product(dy, b, None, False, not transpose_b, bf16)
        if transpose_b:
            db = product(dy, a, None, True, transpose_a, bf16)
        else:
            db = product(a, dy, None, not transpose_a, False, bf16)
        return summed_to(da, a.shape), summed_to(db, b.shape)

    def linear(x, w, b=None):
        return layer(x, w, b, bf16)

    def linear_backward(dy, x, w):
        return layer_backward(dy, x, w, bf16)

    def linear_gelu(x, w, b=None):
        return layer(x, w, b, bf16, True)

    def linear_gelu_backward(dy, x, w, h):
        return layer_backward(gelu_tanh_backward(dy, h), x, w, bf16)

    return matmul, matmul_backward, linear, linear_backward, linear_gelu, linear_gelu_backward


# Simpler versions of matmul, to compare their speed: "cython" is here, the others are in
# csrc/ladder.c.

RUNGS = ("cython", "naive", "reordered", "tiled", "packed", "registers", "threaded")


cdef void loops(float *y, const float *a, const float *b, int64_t rows, int64_t columns, int64_t depth) noexcept nogil:
    # The only arithmetic in Cython: three loops with declared types, to compare with the same loops in C.
    cdef int64_t i, j, p
    cdef float total
    for i in range(rows):
        for j in range(columns):
            total = 0
            for p in range(depth):
                total += a[i * depth + p] * b[p * columns + j]
            y[i * columns + j] = total


def matmul_ladder(rung, a, b):
    """Multiply two matrices, a (M, K) and b (K, N) -> (M, N), by one of the versions in RUNGS."""
    if rung not in RUNGS:
        raise ValueError(f"no rung {rung!r}: the ladder has {', '.join(RUNGS)}")
    a, b = f32(a, "a", 2), f32(b, "b", 2)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(f"the ladder needs a (M, K) and b (K, N), got {a.shape} and {b.shape}")
    c = empty((a.shape[0], b.shape[1]))
    cdef int64_t rows = a.shape[0], depth = a.shape[1], columns = b.shape[1]
    if rung == "cython":
        loops(<float *>address(c), <const float *>address(a), <const float *>address(b), rows, columns, depth)
    else:
        run_matmul_ladder(c, a, b, rows, columns, depth, RUNGS.index(rung) - 1)  # C counts from naive
    return c
