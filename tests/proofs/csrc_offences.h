/* Kernels that break a rule, to see that csrc_kernels.c notices: compiled in with -DOFFENCE=NAME, in place of `add`. */
#define OFFENCE_NAME(name) offence_##name
#define OFFENCE_CALL(name) OFFENCE_NAME(name)

static const struct kernels *honest;

#define BREAKS(name, where, act)                                                                                      \
    __attribute__((unused)) static void offence_##name(float *z, const float *x, const float *y, int64_t n) {         \
        honest->add(z, x, y, n);                                                                                      \
        if (where) act;                                                                                               \
    }
BREAKS(reads_behind, n > 0, z[0] += 0.0f * *(volatile const float *)(x + n))
BREAKS(reads_before, n > 0, z[0] += 0.0f * *(volatile const float *)(y - 1))
BREAKS(writes_behind, n > 0, *(volatile float *)(z + n) = 0.0f)
BREAKS(writes_before, n > 0, *(volatile float *)(z - 1) = 0.0f)
BREAKS(writes_input, n > 0, *(volatile float *)(uintptr_t)x = x[0])
BREAKS(other_bits, n > 6 && honest != *cpu_levels(), z[6] = nextafterf(z[6], 9.0f))
BREAKS(thread_bits, n > 6 && parallel_size() > 1, z[6] = nextafterf(z[6], 9.0f))

static void offend(void) {
    static struct kernels dishonest;
    honest = kernels;
    dishonest = *kernels;
    dishonest.add = OFFENCE_CALL(OFFENCE);
    kernels = &dishonest;
}
