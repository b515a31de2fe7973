# What Cython needs to know of csrc/tinyllm.h: the same table, in the same order.
from libc.stdint cimport int64_t, int32_t, uint8_t

cdef extern from "tinyllm.h" nogil:
    struct kernels_t "kernels":
        const char *level
        void (*gelu)(float *y, const float *x, int64_t n) noexcept nogil
        void (*gelu_backward)(float *dx, const float *dy, const float *x, int64_t n) noexcept nogil
        void (*gelu_tanh)(float *y, const float *x, int64_t n) noexcept nogil
        void (*gelu_tanh_backward)(float *dx, const float *dy, const float *x, int64_t n) noexcept nogil
        void (*silu)(float *y, const float *x, int64_t n) noexcept nogil
        void (*silu_backward)(float *dx, const float *dy, const float *x, int64_t n) noexcept nogil
        void (*swiglu)(float *y, const float *gate, const float *up, int64_t n) noexcept nogil
        void (*swiglu_backward)(float *dgate, float *dup, const float *dy, const float *gate,
                                const float *up, int64_t n) noexcept nogil
        void (*add)(float *z, const float *x, const float *y, int64_t n) noexcept nogil
        void (*dropout)(float *y, const float *x, const uint8_t *keep, float factor, int64_t n) noexcept nogil
        void (*approx_exp)(float *y, const float *x, int64_t n) noexcept nogil
        void (*approx_log)(float *y, const float *x, int64_t n) noexcept nogil
        void (*approx_tanh)(float *y, const float *x, int64_t n) noexcept nogil
        void (*approx_erf)(float *y, const float *x, int64_t n) noexcept nogil
