cdef tuple packed(int bits, object q, object scales):
    """Check the types of quantised weights; return q and scales as contiguous arrays."""
    kind = I8 if bits == 8 else U8
    if isinstance(q, ndarray) and isinstance(scales, ndarray) and q.dtype == kind and scales.dtype == U16:
        return contiguous(q), contiguous(scales)
    for x, name, dtype in ((q, "q", kind), (scales, "scales", U16)):
        if not isinstance(x, ndarray) or x.dtype != dtype:
            raise TypeError(f"the {name} of {bits}-bit weights must be an array of {dtype}, not "
                            f"{getattr(x, 'dtype', type(x).__name__)}; make it with quantize_int{bits}")


cdef tuple quantize_packed(int bits, object w):
    w = f32(w, "w")
    cdef int64_t n_in = w.shape[0], n_out = w.shape[1], groups = (n_out + 15) // 16, blocks = (n_in + 31) // 32
    q, scales = empty((groups, blocks, bits, 16, 4), I8 if bits == 8 else U8), empty((groups, blocks, 16), U16)
    if run_quantize_weights(q, scales, w, n_in, n_out, bits):
        raise ValueError(f"quantize_int{bits} needs finite weights below 2^127: these are broken")
    return q, scales


cdef object linear_packed(int bits, object x, object q, object scales, object n_out, object b):
    x = f32(x, "x", 1)
    q, scales = packed(bits, q, scales)
    if b is not None:
        b = f32(b, "b")
    y = empty(x.shape[:-1] + (index(n_out),))
    run_linear_quantized(y, x, q, scales, b, rows_of(x), x.shape[-1], n_out, bits)
    return y


def quantize_int8(w):
    return quantize_packed(8, w)


def quantize_int4(w):
    return quantize_packed(4, w)


def linear_int8(x, q, scales, n_out, b=None):
    return linear_packed(8, x, q, scales, n_out, b)


def linear_int4(x, q, scales, n_out, b=None):
    return linear_packed(4, x, q, scales, n_out, b)
