/* 512-bit registers: Skylake-X, Ice Lake, Zen 4 and later. */
#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#endif
#define LEVEL avx512
#define LANES 16
#define DOT_AVX512
#define VEC_FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define VEC_SQRT(a) _mm512_sqrt_ps(a)
#define VEC_MAX(a, b) _mm512_max_ps(b, a)
#define VEC_MIN(a, b) _mm512_min_ps(b, a)
#include "level.c"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
