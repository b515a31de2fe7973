ctypedef int (*unary_kernel)(object, object, int64_t) except? -1
ctypedef int (*binary_kernel)(object, object, object, int64_t) except? -1


cdef object unary(unary_kernel run, object x):
    """Compute y = kernel(x), element by element."""
    x = f32(x, "x")
    y = empty(x.shape)
    run(y, x, x.size)
    return y


cdef object binary(binary_kernel run, object x, str x_name, object y, str y_name):
    """Compute z = kernel(x, y), element by element."""
    x, y = f32(x, x_name), f32(y, y_name)
    z = empty(x.shape)
    run(z, x, y, x.size)
    return z


def gelu(x):
    return unary(run_gelu, x)


def gelu_backward(dy, x):
    return binary(run_gelu_backward, dy, "dy", x, "x")


def gelu_tanh(x):
    return unary(run_gelu_tanh, x)


def gelu_tanh_backward(dy, x):
    return binary(run_gelu_tanh_backward, dy, "dy", x, "x")


def silu(x):
    return unary(run_silu, x)


def silu_backward(dy, x):
    return binary(run_silu_backward, dy, "dy", x, "x")


def swiglu(gate, up):
    return binary(run_swiglu, gate, "gate", up, "up")


def swiglu_backward(dy, gate, up):
    dy, gate, up = f32(dy, "dy"), f32(gate, "gate"), f32(up, "up")
    dgate, dup = empty(gate.shape), empty(up.shape)
    run_swiglu_backward(dgate, dup, dy, gate, up, gate.size)
    return dgate, dup


def sigmoid(x):
    return unary(run_sigmoid, x)


def add(x, y):
    return binary(run_add, x, "x", y, "y")


def dropout(x, key, p):
    x = f32(x, "x")
    y = empty(x.shape)
    run_dropout(y, x, key[0], key[1], round(float(p) * 65536), 1 / (1 - float(p)), x.size)
    return y


def dropout_backward(dy, key, p):
    return dropout(f32(dy, "dy"), key, p)


def exp(x):
    return unary(run_exp_each, x)


def log(x):
    return unary(run_log_each, x)


def tanh(x):
    return unary(run_tanh_each, x)
