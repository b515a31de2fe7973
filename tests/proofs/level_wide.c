/* A level for tests alone: the 512-bit arithmetic of AVX-512, run slowly on AVX2. */
#if defined(__x86_64__)
#include <string.h>
#include "avx2.h"
#define LEVEL wide
#define LANES 16
typedef float wide __attribute__((vector_size(64)));
#define BY_HALVES(name, of_half)                                                                                      \
    static inline __attribute__((always_inline)) wide name(wide a, wide b, wide c) {                                  \
        __m256 x[2], y[2], z[2];                                                                                      \
        memcpy(x, &a, sizeof a);                                                                                      \
        memcpy(y, &b, sizeof b);                                                                                      \
        memcpy(z, &c, sizeof c);                                                                                      \
        for (int i = 0; i < 2; i++) z[i] = of_half;                                                                   \
        memcpy(&c, z, sizeof c);                                                                                      \
        return c;                                                                                                     \
    }
BY_HALVES(wide_fma, _mm256_fmadd_ps(x[i], y[i], z[i]))
BY_HALVES(wide_sqrt, _mm256_sqrt_ps(x[i]))
BY_HALVES(wide_max, _mm256_max_ps(y[i], x[i]))
BY_HALVES(wide_min, _mm256_min_ps(y[i], x[i]))
static inline __attribute__((always_inline)) wide wide_quarters(const void *quarters) {
    wide y;
    memcpy(&y, quarters, sizeof y);
    return y;
}
#define VEC_QUARTERS(q) wide_quarters(q)
#define VEC_FMA(a, b, c) wide_fma(a, b, c)
#define VEC_SQRT(a) wide_sqrt(a, a, a)
#define VEC_MAX(a, b) wide_max(a, b, b)
#define VEC_MIN(a, b) wide_min(a, b, b)
#include "level.c"
#include "target_end.h"
#endif
