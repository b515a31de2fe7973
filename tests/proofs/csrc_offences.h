/* Kernels that break a rule, to see that csrc_kernels.c notices: compiled in with -DOFFENCE=NAME, in place of `add`. */
#define OFFENCE_NAME(name) offence_##name
#define OFFENCE_CALL(name) OFFENCE_NAME(name)

static const struct kernels *honest;

static void offence_reads_behind(float *z, const float *x, const float *y, int64_t n) {
    honest->add(z, x, y, n);
    if (n > 0) z[0] += 0.0f * *(volatile const float *)(x + n);
}
static void offence_reads_before(float *z, const float *x, const float *y, int64_t n) {
    honest->add(z, x, y, n);
    if (n > 0) z[0] += 0.0f * *(volatile const float *)(y - 1);
}
static void offence_writes_behind(float *z, const float *x, const float *y, int64_t n) {
    honest->add(z, x, y, n);
    if (n > 0) *(volatile float *)(z + n) = 0.0f;
}
static void offence_writes_before(float *z, const float *x, const float *y, int64_t n) {
    honest->add(z, x, y, n);
    if (n > 0) *(volatile float *)(z - 1) = 0.0f;
}
static void offence_writes_input(float *z, const float *x, const float *y, int64_t n) {
    honest->add(z, x, y, n);
    if (n > 0) *(volatile float *)(uintptr_t)x = x[0];
}
static void offence_other_bits(float *z, const float *x, const float *y, int64_t n) {
    honest->add(z, x, y, n);
    if (n > 6 && honest != *cpu_levels()) z[6] = nextafterf(z[6], 9.0f);
}
static void offence_thread_bits(float *z, const float *x, const float *y, int64_t n) {
    honest->add(z, x, y, n);
    if (n > 6 && parallel_size() > 1) z[6] = nextafterf(z[6], 9.0f);
}
static void (*const offences[])(float *, const float *, const float *, int64_t) = {
    offence_reads_behind, offence_reads_before, offence_writes_behind, offence_writes_before, offence_writes_input,
    offence_other_bits, offence_thread_bits,
};

static void offend(void) {
    static struct kernels dishonest;
    (void)offences;
    honest = kernels;
    dishonest = *kernels;
    dishonest.add = OFFENCE_CALL(OFFENCE);
    kernels = &dishonest;
}
