# What Cython needs to know of csrc/tinyllm.h: the same table, in the same order.
from libc.stdint cimport int64_t, int32_t, uint8_t

cdef extern from "tinyllm.h" nogil:
    struct kernels_t "kernels":
        const char *level
        void (*softmax)(float *y, const float *x, int64_t rows, int64_t n) noexcept nogil
        void (*softmax_backward)(float *dx, const float *dy, const float *y, int64_t rows, int64_t n) noexcept nogil

    const kernels_t *kernels
    const kernels_t *const *cpu_levels()
    int cpu_use(const char *level)
    void parallel_threads(int n)
    int parallel_size()
    void *pool_take(size_t size)
    void pool_give(void *block)
    void pool_empty()
    void pool_cap(size_t size)
    struct pool_state:
        int64_t hits, misses, used, idle, peak, capacity
    pool_state pool_look()
