/* Kernels that break a rule, to see that csrc_kernels.c notices: $OFFENCE names the one in place of `add`. */
static const struct kernels *honest;

#define BREAKS(name, where, act)                                                                                      \
    static void offence_##name(float *z, const float *x, const float *y, int64_t n) {         \
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

#define OFFENCE(name) {#name, offence_##name}
static const struct {
    const char *name;
    void (*add)(float *z, const float *x, const float *y, int64_t n);
} offences[] = {OFFENCE(reads_behind), OFFENCE(reads_before), OFFENCE(writes_behind), OFFENCE(writes_before),
                OFFENCE(writes_input), OFFENCE(other_bits), OFFENCE(thread_bits)};

static void offend(void) {
    static struct kernels dishonest;
    const char *wanted = getenv("OFFENCE");
    honest = kernels;
    dishonest = *kernels;
    for (size_t i = 0; wanted && i < COUNT(offences); i++)
        if (strcmp(wanted, offences[i].name) == 0) {
            dishonest.add = offences[i].add;
            kernels = &dishonest;
        }
}
