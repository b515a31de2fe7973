cdef object addresses(list matrices):
    """Return the addresses of contiguous arrays, as an array for a kernel; the caller keeps the arrays alive."""
    found = np.empty(len(matrices), np.uintp)
    cdef uintptr_t *place = <uintptr_t *>address(found)
    cdef int64_t i
    for i in range(len(matrices)):
        place[i] = <uintptr_t>address(matrices[i])
    return found


cdef object grouped(object x, object w, object counts, bint transposed, bint bf16):
    """Multiply each group of rows of x by its matrix of w, or by its transpose."""
    cdef list matrices = [f32(matrix, "w", 2) for matrix in w]
    cdef int64_t columns = matrices[0].shape[0 if transposed else 1]
    y = empty((x.shape[0], columns))
    run_grouped_matmul(y, x, addresses(matrices), np.cumsum(counts), len(matrices), columns, x.shape[1], transposed,
                       bf16)
    return y


def _grouped_products(bint bf16):
    """Return the ops on groups; bf16 as in `_products`."""

    def grouped_linear(x, w, counts):
        return grouped(f32(x, "x", 2), w, ints(counts, "counts"), False, bf16)

    def grouped_linear_backward(dy, x, w, counts):
        dy, x, counts = f32(dy, "dy", 2), f32(x, "x", 2), ints(counts, "counts")
        dw = empty((counts.shape[0], x.shape[1], dy.shape[1]))
        run_grouped_outer(dw, x, dy, np.cumsum(counts), counts.shape[0], dy.shape[1], x.shape[1], bf16)
        return grouped(dy, w, counts, True, bf16), dw

    return grouped_linear, grouped_linear_backward


def combine_experts(y, weights, places):
    y, weights, places = f32(y, "y", 2), f32(weights, "weights", 2), ints(places, "places")
    z = empty((weights.shape[0], y.shape[1]))
    run_combine(z, y, weights, places, weights.shape[0], weights.shape[1], y.shape[1])
    return z


def combine_experts_backward(dz, y, weights, places):
    dz, y, weights, places = f32(dz, "dz", 2), f32(y, "y", 2), f32(weights, "weights", 2), ints(places, "places")
    dy, dweights = empty(y.shape), empty(weights.shape)
    run_combine_backward(dy, dweights, dz, y, weights, places, weights.shape[0], weights.shape[1], y.shape[1])
    return dy, dweights
