cdef tuple packed_shapes(int bits, int64_t n_in, int64_t n_out):
    """The shapes of q and scales for w (n_in, n_out)."""
    cdef int64_t groups = (n_out + 15) // 16, blocks = (n_in + 31) // 32
    return (groups, blocks, bits, 16, 4), (groups, blocks, 16)


cdef tuple packed(int bits, object n_in, object n_out, object q, object scales):
    """Check that q and scales are those of w (n_in, n_out); return the two contiguous."""
    kind = I8 if bits == 8 else U8
    if not isinstance(q, ndarray) or not isinstance(scales, ndarray) or q.dtype != kind or scales.dtype != U16:
        raise TypeError(f"{bits}-bit weights are arrays q {kind} and scales uint16, got "
                        f"{getattr(q, 'dtype', type(q).__name__)} and {getattr(scales, 'dtype', type(scales).__name__)}; "
                        f"make them with quantize_int{bits}")
    if not (0 <= n_in < 1 << 40 and 0 <= n_out < 1 << 40) or (q.shape, scales.shape) != packed_shapes(bits, n_in, n_out):
        raise ValueError(f"{bits}-bit weights of shape {(n_in, n_out)} are not q {q.shape} with scales {scales.shape}; "
                         f"make them with quantize_int{bits}")
    return contiguous(q), contiguous(scales)


cdef tuple quantize_packed(int bits, object w):
    w = f32(w, "w")
    if w.ndim != 2:
        raise ValueError(f"quantize_int{bits} needs weights w (I, O), got shape {w.shape}")
    q_shape, scales_shape = packed_shapes(bits, w.shape[0], w.shape[1])
    q, scales = empty(q_shape, I8 if bits == 8 else U8), empty(scales_shape, U16)
    cdef uint8_t *q_out = <uint8_t *>address(q)
    cdef uint16_t *scales_out = <uint16_t *>address(scales)
    cdef const float *inp = <const float *>address(w)
    cdef int64_t n_in = w.shape[0], n_out = w.shape[1]
    cdef int broken
    with nogil:
        broken = kernels.quantize_weights(q_out, scales_out, inp, n_in, n_out, bits)
    if broken:
        raise ValueError(f"quantize_int{bits} needs finite weights below 2^127: these are broken")
    return q, scales


cdef object dequantize_packed(int bits, object q, object scales, object n_in, object n_out):
    n_in, n_out = index(n_in), index(n_out)
    q, scales = packed(bits, n_in, n_out, q, scales)
    w = empty((n_in, n_out))
    cdef float *out = <float *>address(w)
    cdef const uint8_t *q_in = <const uint8_t *>address(q)
    cdef const uint16_t *scales_in = <const uint16_t *>address(scales)
    cdef int64_t inputs = n_in, outputs = n_out
    with nogil:
        kernels.dequantize_weights(out, q_in, scales_in, inputs, outputs, bits)
    return w


cdef object linear_packed(int bits, object x, object q, object scales, object n_out, object b):
    x, n_out = f32(x, "x", 1), index(n_out)
    q, scales = packed(bits, x.shape[-1], n_out, q, scales)
    if b is not None:
        b = f32(b, "b")
        must_be(b, "b", (n_out,))
    y = empty(x.shape[:-1] + (n_out,))
    cdef float *out = <float *>address(y)
    cdef const float *inp = <const float *>address(x)
    cdef const uint8_t *q_in = <const uint8_t *>address(q)
    cdef const uint16_t *scales_in = <const uint16_t *>address(scales)
    cdef const float *bias = NULL if b is None else <const float *>address(b)
    cdef int64_t rows = rows_of(x), inputs = x.shape[-1], outputs = n_out
    cdef int failed
    with nogil:
        failed = kernels.linear_quantized(out, inp, q_in, scales_in, bias, rows, inputs, outputs, bits)
    if failed:
        raise MemoryError("no memory for the rounded inputs of a quantised layer")
    return y


def quantize_int8(w):
    return quantize_packed(8, w)


def quantize_int4(w):
    return quantize_packed(4, w)


def dequantize_int8(q, scales, n_in, n_out):
    return dequantize_packed(8, q, scales, n_in, n_out)


def dequantize_int4(q, scales, n_in, n_out):
    return dequantize_packed(4, q, scales, n_in, n_out)


def quantize_rows(x):
    x = f32(x, "x", 1)
    cdef int64_t rows = rows_of(x), n = x.shape[-1]
    cdef tuple shape = x.shape[:-1] + ((n + 31) // 32,)
    q, scales, sums = empty(shape + (32,), I8), empty(shape), empty(shape, I32)
    cdef int8_t *q_out = <int8_t *>address(q)
    cdef float *scales_out = <float *>address(scales)
    cdef int32_t *sums_out = <int32_t *>address(sums)
    cdef const float *inp = <const float *>address(x)
    with nogil:
        kernels.quantize_rows(q_out, scales_out, sums_out, inp, rows, n)
    return q, scales


def linear_int8(x, q, scales, n_out, b=None):
    return linear_packed(8, x, q, scales, n_out, b)


def linear_int4(x, q, scales, n_out, b=None):
    return linear_packed(4, x, q, scales, n_out, b)
