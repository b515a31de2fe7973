/* Choose the instruction set that runs: the best that this CPU has, or the one that TINYLLM_CPU names. */
#include "tinyllm.h"

#include <string.h>

const struct kernels *kernels = NULL;

#if defined(__x86_64__)
int matmul_bf16_avx512bf16(float *c, float *act_out, const float *a, const float *b, const float *bias, int64_t stack,
                           int64_t rows, int64_t columns, int64_t depth, int64_t a_stack, int64_t b_stack,
                           int a_transposed, int b_transposed);

int linear_quantized_avx512vnni(float *y, const float *x, const uint8_t *q, const uint16_t *scales, const float *bias,
                                int64_t rows, int64_t n_in, int64_t n_out, int bits);

/* avx512 with products of bytes in hardware. */
static const struct kernels *with_vnni(void) {
    static struct kernels k;
    k = kernels_avx512;
    k.level = "avx512vnni";
    k.linear_quantized = linear_quantized_avx512vnni;
    return &k;
}

/* The same with products of bfloat16. */
static const struct kernels *with_bf16(void) {
    static struct kernels k;
    k = *with_vnni();
    k.level = "avx512bf16";
    k.matmul_bf16 = matmul_bf16_avx512bf16;
    return &k;
}
#endif

const struct kernels *const *cpu_levels(void) {
    static const struct kernels *found[8];
    int n = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
        int vnni = __builtin_cpu_supports("avx512vnni"); /* every CPU with bf16 has it, so they stand in a row */
        if (vnni && __builtin_cpu_supports("avx512bf16")) found[n++] = with_bf16();
        if (vnni) found[n++] = with_vnni();
        found[n++] = &kernels_avx512;
    }
    if (avx2) found[n++] = &kernels_avx2;
#elif defined(__aarch64__)
    found[n++] = &kernels_neon;
#endif
    found[n] = NULL;
    return found;
}

int cpu_use(const char *level) {
    for (const struct kernels *const *k = cpu_levels(); *k; k++)
        if (level == NULL || strcmp((*k)->level, level) == 0) {
            kernels = *k;
            return 0;
        }
    return -1;
}
