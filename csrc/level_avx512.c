/* Compile the kernels for 512-bit registers (AVX-512): Skylake-X, Ice Lake, Zen 4 and others. */
#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))),                   \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#endif
#define LEVEL avx512
#include "avx512.h"
#define DOT_AVX512
#include "level.c"
#include "target_end.h"
#endif
