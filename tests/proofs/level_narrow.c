/* A level for tests alone: the 128-bit arithmetic of NEON, run on x86. */
#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define LEVEL narrow
#define LANES 4
#define VEC_FMA(a, b, c) _mm_fmadd_ps(a, b, c)
#define VEC_SQRT(a) _mm_sqrt_ps(a)
#define VEC_MAX(a, b) _mm_max_ps(b, a)
#define VEC_MIN(a, b) _mm_min_ps(b, a)
#include "level.c"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
