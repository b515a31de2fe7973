/* The levels that drivers compare: those of this CPU, and, but for -DINSTALLED, two that only proofs build
 * (level_narrow.c, level_wide.c). They run NEON's and AVX-512's arithmetic on AVX2, so that one machine can compare all
 * widths of vectors. */
#include "tinyllm.h"

extern const struct kernels kernels_narrow, kernels_wide;

static const struct kernels *const *all_levels(void) { /* NULL-terminated, best first */
    static const struct kernels *found[10];
    int n = 0;
    for (const struct kernels *const *level = cpu_levels(); *level; level++) found[n++] = *level;
#if defined(__x86_64__) && !defined(INSTALLED)
    if (n) found[n++] = &kernels_narrow, found[n++] = &kernels_wide;
#endif
    found[n] = NULL;
    return found;
}
