/* Compile the kernels for 256-bit registers (AVX2, FMA): most x86-64 CPUs since Haswell (2013), all Zen. */
#if defined(__x86_64__)
#include "avx2.h"
#define LEVEL avx2
#define LANES 8
#define DOT_AVX2
#define VEC_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define VEC_SQRT(a) _mm256_sqrt_ps(a)
#define VEC_MAX(a, b) _mm256_max_ps(b, a)
#define VEC_MIN(a, b) _mm256_min_ps(b, a)
/* VEC_STORE_WHERE is left out, because a masked store of 256 bits takes 15 ns on AMD's processors. */
#define VEC_LOAD_WHERE(p, mask, fill) _mm256_blendv_ps(fill, _mm256_maskload_ps(p, (__m256i)(mask)), (__m256)(mask))
#include "level.c"
#include "target_end.h"
#endif
