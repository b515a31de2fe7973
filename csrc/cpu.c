/* Which instruction set runs: the best that this CPU has, or the one that TINYLLM_CPU names. */
#include "tinyllm.h"

#include <string.h>

#if defined(__x86_64__)
extern const struct kernels kernels_avx2, kernels_avx512, kernels_narrow, kernels_wide;
#elif defined(__aarch64__)
extern const struct kernels kernels_neon;
#endif

const struct kernels *kernels = NULL;

const struct kernels *const *cpu_levels(void) {
    static const struct kernels *found[6];
    int n = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        found[n++] = &kernels_avx512;
    if (avx2) {
        found[n++] = &kernels_avx2;
        found[n++] = &kernels_narrow;
        found[n++] = &kernels_wide;
    }
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
