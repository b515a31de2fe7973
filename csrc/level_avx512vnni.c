/* linear_quantized for CPUs that multiply bytes: Cascade Lake, Ice Lake, Zen 4 and others. cpu.c takes other kernels
 * of this level from avx512; so the other kernels of quant.c, which is included here, are not used. */
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

const struct kernels kernels_avx512vnni = {.level = "avx512vnni", .linear_quantized = linear_quantized};
#include "target_end.h"
#endif
