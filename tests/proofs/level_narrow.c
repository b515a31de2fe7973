/* An instruction-set level that only tests use: the 128-bit vectors of NEON, computed on x86. */
#if defined(__x86_64__)
#include "avx2.h"
#define LEVEL narrow
#define LANES 4
#define VEC_FMA(a, b, c) _mm_fmadd_ps(a, b, c)
#define VEC_SQRT(a) _mm_sqrt_ps(a)
#define VEC_MAX(a, b) _mm_max_ps(b, a)
#define VEC_MIN(a, b) _mm_min_ps(b, a)
#include "level.c"
#include "target_end.h"
#endif
