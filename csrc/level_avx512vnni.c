/* linear_quantized for CPUs that multiply bytes: Cascade Lake, Ice Lake, Zen 4 and later. Everything else at this level
 * is avx512's (see cpu.c), and so are the other functions of quant.c, which stand here unused. */
#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC diagnostic ignored "-Wunused-function"
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx512vnni,avx2,fma"))),        \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx512vnni,avx2,fma")
#endif
#include "avx512.h"
#define NATIVE __m512i
#define DOT_VNNI(sum, w, x) _mm512_dpbusd_epi32(sum, w, x)
#include "tinyllm.h"

#include "simd.h"
#include "loops.h"
#include "dot.h"

#include "quant.c"

int linear_quantized_avx512vnni(float *y, const float *x, const uint8_t *q, const uint16_t *scales, const float *bias,
                                int64_t rows, int64_t n_in, int64_t n_out, int bits);
int linear_quantized_avx512vnni(float *y, const float *x, const uint8_t *q, const uint16_t *scales, const float *bias,
                                int64_t rows, int64_t n_in, int64_t n_out, int bits) {
    return linear_quantized(y, x, q, scales, bias, rows, n_in, n_out, bits);
}
#include "target_end.h"
#endif
