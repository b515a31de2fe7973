/* 256-bit registers: every x86-64 since Haswell (2013) and Zen. */
#if defined(__x86_64__)
#include "avx2.h"
#define LEVEL avx2
#define LANES 8
#define DOT_AVX2
#define VEC_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define VEC_SQRT(a) _mm256_sqrt_ps(a)
#define VEC_MAX(a, b) _mm256_max_ps(b, a)
#define VEC_MIN(a, b) _mm256_min_ps(b, a)
/* No VEC_STORE_WHERE: AMD's processors take 15 ns for a masked store of 256 bits. */
#define VEC_LOAD_WHERE(p, mask, fill) _mm256_blendv_ps(fill, _mm256_maskload_ps(p, (__m256i)(mask)), (__m256)(mask))
#include "level.c"
#include "target_end.h"
#endif
