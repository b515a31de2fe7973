/* Choose the instruction set that runs: the best that this CPU has, or the one that TINYLLM_CPU names. */
#include "tinyllm.h"

#include <string.h>

const struct kernels *kernels = NULL;

#if defined(__x86_64__)
static struct kernels with_vnni, with_bf16; /* avx512 and vnni's linear_quantized; these and bf16's matmul_bf16 */

static void fill_levels(void) {
    with_vnni = kernels_avx512;
    with_vnni.level = kernels_avx512vnni.level;
    with_vnni.linear_quantized = kernels_avx512vnni.linear_quantized;
    with_bf16 = with_vnni;
    with_bf16.level = kernels_avx512bf16.level;
    with_bf16.matmul_bf16 = kernels_avx512bf16.matmul_bf16;
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
        int vnni = __builtin_cpu_supports("avx512vnni"); /* every CPU with avx512bf16 has it, too */
        fill_levels();
        if (vnni && __builtin_cpu_supports("avx512bf16")) found[n++] = &with_bf16;
        if (vnni) found[n++] = &with_vnni;
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
