/* The table of contents: every kernel, by the file it lives in, and the few services they share.
 *
 * Kernels are plain C11. Outputs come first, inputs are const, sizes are int64_t, arrays are contiguous and may not
 * overlap unless said. Nobody prints, nobody checks shapes (ops/_compiled.pyx does), nobody keeps state. The same
 * source is compiled once per instruction set (level_*.c) into a `struct kernels`; cpu.c points `kernels` at one.
 *
 * Letters mean one thing everywhere: B batch, T time, S queries, H heads, K kv heads, D head width, C channels,
 * V vocabulary; in matmul alone, M, N, K are rows, columns and the summed axis.
 */
#ifndef TINYLLM_H
#define TINYLLM_H

#include <stddef.h>
#include <stdint.h>

/* X(file, result, name, arguments) */
#define TINYLLM_KERNELS(X)                                                                                            \
    X(elementwise, void, gelu, (float *y, const float *x, int64_t n))                                                 \
    X(elementwise, void, gelu_backward, (float *dx, const float *dy, const float *x, int64_t n))                      \
    X(elementwise, void, gelu_tanh, (float *y, const float *x, int64_t n))                                            \
    X(elementwise, void, gelu_tanh_backward, (float *dx, const float *dy, const float *x, int64_t n))                 \
    X(elementwise, void, silu, (float *y, const float *x, int64_t n))                                                 \
    X(elementwise, void, silu_backward, (float *dx, const float *dy, const float *x, int64_t n))                      \
    X(elementwise, void, swiglu, (float *y, const float *gate, const float *up, int64_t n))                           \
    X(elementwise, void, swiglu_backward,                                                                             \
      (float *dgate, float *dup, const float *dy, const float *gate, const float *up, int64_t n))                     \
    X(elementwise, void, add, (float *z, const float *x, const float *y, int64_t n))                                  \
    X(elementwise, void, dropout, (float *y, const float *x, const uint8_t *keep, float factor, int64_t n))           \
    X(elementwise, void, approx_exp, (float *y, const float *x, int64_t n))                                           \
    X(elementwise, void, approx_log, (float *y, const float *x, int64_t n))                                           \
    X(elementwise, void, approx_tanh, (float *y, const float *x, int64_t n))                                          \
    X(elementwise, void, approx_erf, (float *y, const float *x, int64_t n))                                           \
