ctypedef void (*unary_kernel)(float *, const float *, int64_t) noexcept nogil
ctypedef void (*binary_kernel)(float *, const float *, const float *, int64_t) noexcept nogil


cdef object unary(unary_kernel kernel, object x):
    """y = kernel(x), element by element."""
    x = f32(x, "x")
    y = empty(x.shape)
    cdef float *out = <float *>address(y)
    cdef const float *inp = <const float *>address(x)
    cdef int64_t n = x.size
    with nogil:
        kernel(out, inp, n)
    return y


cdef object binary(binary_kernel kernel, object x, str x_name, object y, str y_name):
    """z = kernel(x, y), element by element."""
    x, y = f32(x, x_name), f32(y, y_name)
    same_shape(x, x_name, y, y_name)
    z = empty(x.shape)
    cdef float *out = <float *>address(z)
    cdef const float *a = <const float *>address(x)
    cdef const float *b = <const float *>address(y)
    cdef int64_t n = x.size
    with nogil:
        kernel(out, a, b, n)
    return z


def gelu(x):
    return unary(kernels.gelu, x)


def gelu_backward(dy, x):
    return binary(kernels.gelu_backward, dy, "dy", x, "x")


def gelu_tanh(x):
    return unary(kernels.gelu_tanh, x)


def gelu_tanh_backward(dy, x):
    return binary(kernels.gelu_tanh_backward, dy, "dy", x, "x")


def silu(x):
    return unary(kernels.silu, x)


def silu_backward(dy, x):
    return binary(kernels.silu_backward, dy, "dy", x, "x")


def swiglu(gate, up):
    return binary(kernels.swiglu, gate, "gate", up, "up")


def swiglu_backward(dy, gate, up):
    dy, gate, up = f32(dy, "dy"), f32(gate, "gate"), f32(up, "up")
    same_shape(dy, "dy", gate, "gate")
    same_shape(gate, "gate", up, "up")
    dgate, dup = empty(gate.shape), empty(up.shape)
    cdef float *out = <float *>address(dgate)
    cdef float *out2 = <float *>address(dup)
    cdef const float *a = <const float *>address(dy)
    cdef const float *b = <const float *>address(gate)
    cdef const float *c = <const float *>address(up)
    cdef int64_t n = gate.size
    with nogil:
        kernels.swiglu_backward(out, out2, a, b, c, n)
    return dgate, dup


def add(x, y):
    return binary(kernels.add, x, "x", y, "y")


cdef object drop(object x, str name, object key, object p):
    x = f32(x, name)
    if not (isinstance(key, tuple) and len(key) == 2 and all(isinstance(k, int) and 0 <= k < 1 << 64 for k in key)):
        raise ValueError(f"a dropout key is a pair of whole numbers from 0 to 2**64 - 1, got {key!r}")
    if not 0 <= p < 1:
        raise ValueError(f"dropout needs 0 <= p < 1, got {p}")
    y = empty(x.shape)
    cdef float *out = <float *>address(y)
    cdef const float *inp = <const float *>address(x)
    cdef uint64_t first = key[0], second = key[1]
    cdef float factor = 1 / (1 - float(p))
    cdef int least = round(float(p) * 65536)
    cdef int64_t n = x.size
    with nogil:
        kernels.dropout(out, inp, first, second, least, factor, n)
    return y


def dropout(x, key, p):
    return drop(x, "x", key, p)


def dropout_backward(dy, key, p):
    return drop(dy, "dy", key, p)


def _exp(x):
    return unary(kernels.approx_exp, x)


def _log(x):
    return unary(kernels.approx_log, x)


def _tanh(x):
    return unary(kernels.approx_tanh, x)


def _erf(x):
    return unary(kernels.approx_erf, x)
