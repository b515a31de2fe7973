/* Compile the kernels for 128-bit registers (NEON): every 64-bit ARM CPU. */
#if defined(__aarch64__)
#include <arm_neon.h>
#define LEVEL neon
#define LANES 4
#define VEC_FMA(a, b, c) vfmaq_f32(c, a, b)
#define VEC_SQRT(a) vsqrtq_f32(a)
#define VEC_MAX(a, b) vbslq_f32(vcltq_f32(a, b), b, a)
#define VEC_MIN(a, b) vbslq_f32(vcltq_f32(b, a), b, a)
#include "level.c"
#endif
