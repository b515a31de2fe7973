/* Compares functions of the compiled core with the C library's double precision on all 2**32 floats, at every
 * level of this CPU, and prints the largest error in ulp (the distance between neighbouring floats at the
 * exact result). verify_approx.py compiles and runs it. A double is off by some 1e-16, a billionth of an ulp
 * here.
 */
#include "tinyllm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 1 << 16, CHUNKS = 1 << 16 }; /* floats per chunk, chunks */

static double gelu_exactly(double x) { return x * 0.5 * erfc(-x * 0.70710678118654752440); }
static double silu_exactly(double x) { return x / (1 + exp(-x)); }

static const struct function {
    const char *name;
    double (*exactly)(double);
    size_t kernel; /* where its pointer stands in struct kernels */
    double allowed; /* ulp */
} functions[] = {
    {"exp", exp, offsetof(struct kernels, approx_exp), 2},
    {"log", log, offsetof(struct kernels, approx_log), 2},
    {"tanh", tanh, offsetof(struct kernels, approx_tanh), 2},
    {"erf", erf, offsetof(struct kernels, approx_erf), 3},
    {"silu", silu_exactly, offsetof(struct kernels, silu), 4},
    {"gelu", gelu_exactly, offsetof(struct kernels, gelu), 7},
};

typedef void (*kernel)(float *y, const float *x, int64_t n);

static kernel kernel_of(const struct kernels *level, const struct function *f) {
    kernel k;
    memcpy(&k, (const char *)level + f->kernel, sizeof k);
    return k;
}

/* The distance between floats at x: 2**(e - 23) for 2**e <= |x| < 2**(e + 1), 2**-149 among the subnormal. */
static double spacing(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits &= (uint64_t)0x7ff << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return fmax(power, 0x1p-126) * 0x1p-23;
}

static double ulps(float y, double exact) {
    if (isnan(exact)) return isnan(y) ? 0 : INFINITY;
    if (isinf(y) || isinf((float)exact)) return y == (float)exact ? 0 : INFINITY;
    return isnan(y) ? INFINITY : fabs(y - exact) / spacing(exact);
}

struct finding { double worst; float at; int levels_differ; };
struct job { const struct function *f; struct finding *findings; };

static int same_bits(const float *a, const float *b) {
    for (int i = 0; i < CHUNK; i++)
        if (memcmp(a + i, b + i, sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i]))) return 0;
    return 1;
}

static void look(void *context, int64_t begin, int64_t end) {
    const struct job *job = context;
    static _Thread_local float x[CHUNK], y[CHUNK], other[CHUNK];
    for (int64_t c = begin; c < end; c++) {
        struct finding *found = &job->findings[c];
        for (uint32_t i = 0; i < CHUNK; i++) {
            uint32_t bits = (uint32_t)c * CHUNK + i;
            memcpy(x + i, &bits, sizeof bits);
        }
        const struct kernels *const *level = cpu_levels();
        kernel_of(*level, job->f)(y, x, CHUNK);
        while (*++level) {
            kernel_of(*level, job->f)(other, x, CHUNK);
            found->levels_differ |= !same_bits(y, other);
        }
        for (int i = 0; i < CHUNK; i++) {
            double error = ulps(y[i], job->f->exactly(x[i]));
            if (error > found->worst) *found = (struct finding){error, x[i], found->levels_differ};
        }
    }
}

int main(int count, char **names) {
    int failures = 0;
    parallel_threads((int)sysconf(_SC_NPROCESSORS_ONLN));
    for (size_t k = 0; k < sizeof functions / sizeof *functions; k++) {
        const struct function *f = &functions[k];
        int wanted = count == 1;
        for (int i = 1; i < count; i++) wanted |= strcmp(names[i], f->name) == 0;
        if (!wanted) continue;
        struct finding *findings = calloc(CHUNKS, sizeof *findings), worst = {0};
        if (!findings) return 1;
        time_t start = time(NULL);
        parallel_for(look, &(struct job){f, findings}, CHUNKS, 1);
        for (int c = 0; c < CHUNKS; c++) {
            int differ = worst.levels_differ | findings[c].levels_differ;
            if (findings[c].worst > worst.worst) worst = findings[c];
            worst.levels_differ = differ;
        }
        free(findings);
        int good = worst.worst <= f->allowed && !worst.levels_differ;
        failures += !good;
        printf("%-5s at most %.3f ulp (at x = %.9g), bits at all levels %s, %.0f s: %s\n", f->name,
               worst.worst, worst.at, worst.levels_differ ? "differ" : "equal", difftime(time(NULL), start),
               good ? "good" : "FAILED");
        fflush(stdout);
    }
    return failures != 0;
}
