/* Compares functions of the compiled core with double precision on all 2**32 floats, at every level of this CPU, and
 * prints the largest error in ulp (the distance between neighbouring floats at the exact result). verify_approx.py
 * compiles and runs it.
 *
 *     verify_approx all|quick [name ...]          quick: one chunk of 65,536 floats in 128, each exponent in one of them
 *
 * The truth is the C library's double precision: it is off by some 1e-16, a billionth of an ulp here.
 */
#include "tinyllm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define COUNT(...) (sizeof(__VA_ARGS__) / sizeof((__VA_ARGS__)[0]))
#define REQUIRE(holds, ...)                                                                                           \
    do {                                                                                                              \
        if (holds) break;                                                                                             \
        fprintf(stderr, __VA_ARGS__);                                                                                 \
        fprintf(stderr, " (%s:%d)\n", __FILE__, __LINE__);                                                            \
        exit(1);                                                                                                      \
    } while (0)

/* The levels of this CPU, and, but for -DINSTALLED, two that only proofs build. */
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

enum { CHUNK = 1 << 16, CHUNKS = 1 << 16 }; /* floats per chunk, chunks */

/* --- functions: the exact value in double, and the kernel ------------------------------------------------------- */

#define EXACT(name, value) static double name##_exactly(double x) { return value; }
#define FUNCTION(name, value, member)                                                                                 \
    EXACT(name, value)                                                                                                \
    static void name##_kernel(const struct kernels *level, float *y, const float *x) { level->member(y, x, CHUNK); }
#define ROOT_2_PI 0.79788456080286535588 /* sqrt(2 / pi) */
FUNCTION(exp, exp(x), exp_each)
FUNCTION(log, log(x), log_each)
FUNCTION(tanh, tanh(x), tanh_each)
FUNCTION(silu, x / (1 + exp(-x)), silu)
FUNCTION(gelu, x * 0.5 * erfc(-x * 0.70710678118654752440), gelu)
FUNCTION(gelu_tanh, x / (1 + exp(-2 * ROOT_2_PI * (x + 0.044715 * x * x * x))), gelu_tanh)
EXACT(rsqrt, 1 / sqrt(0 + x)) /* variance + eps is never -0 */

/* 1 / sqrt as the norms use it. One number in 256 goes through rmsnorm itself, as the eps of a row of one zero. */
static void rsqrt_kernel(const struct kernels *level, float *y, const float *x) {
    static const float zero = 0.0f, one = 1.0f;
    float ignored;
    for (int i = 0; i < CHUNK; i++) {
        if (i % 256 == 0) level->rmsnorm(&ignored, y + i, &zero, &one, x[i], 1, 1);
        else y[i] = 1.0f / sqrtf(0.0f + x[i]);
    }
}

static const struct function {
    const char *name;
    double (*exactly)(double x);
    void (*kernel)(const struct kernels *level, float *y, const float *x);
    double allowed; /* ulp */
} functions[] = {
#define ROW(name, allowed) {#name, name##_exactly, name##_kernel, allowed}
    ROW(exp, 1.02), ROW(log, 0.83), ROW(tanh, 1.34), ROW(silu, 3.4), ROW(gelu, 6.1),
    ROW(gelu_tanh, 214), ROW(rsqrt, 1.5),
};

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
struct job {
    const struct function *f;
    struct finding *findings;
    int64_t stride;
    const struct kernels *const *levels;
};

static int same_bits(const float *a, const float *b) {
    for (int i = 0; i < CHUNK; i++)
        if (memcmp(a + i, b + i, sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i]))) return 0;
    return 1;
}

static void look(void *context, int64_t begin, int64_t end) {
    const struct job *job = context;
    static _Thread_local float x[CHUNK], y[CHUNK], other[CHUNK];
    for (int64_t k = begin; k < end; k++) {
        int64_t c = k * job->stride + 37 * k % job->stride; /* another part of every exponent */
        struct finding *found = &job->findings[k];
        for (uint32_t i = 0; i < CHUNK; i++) {
            uint32_t bits = (uint32_t)c * CHUNK + i;
            memcpy(x + i, &bits, sizeof bits);
        }
        const struct kernels *const *level = job->levels;
        job->f->kernel(*level, y, x);
        while (*++level) {
            job->f->kernel(*level, other, x);
            found->levels_differ |= !same_bits(y, other);
        }
        for (int i = 0; i < CHUNK; i++) {
            double error = ulps(y[i], job->f->exactly(x[i]));
            if (error > found->worst) *found = (struct finding){error, x[i], found->levels_differ};
        }
    }
}

/* Print the largest error of one function; return whether it is allowed. */
static int measure(const struct function *f, int64_t chunks, char *summary) {
    struct finding *findings = calloc(CHUNKS, sizeof *findings), worst = {0};
    REQUIRE(findings, "no memory");
    time_t start = time(NULL);
    parallel_for(look, &(struct job){f, findings, CHUNKS / chunks, all_levels()}, chunks, 1);
    for (int64_t c = 0; c < chunks; c++) {
        int differ = worst.levels_differ | findings[c].levels_differ;
        if (findings[c].worst > worst.worst) worst = findings[c];
        worst.levels_differ = differ;
    }
    free(findings);
    int good = worst.worst <= f->allowed && !worst.levels_differ;
    printf("%-9s at most %.3f ulp (at x = %.9g), bits at all levels %s, %.0f s: %s\n", f->name, worst.worst, worst.at,
           worst.levels_differ ? "differ" : "equal", difftime(time(NULL), start), good ? "good" : "FAILED");
    fflush(stdout);
    sprintf(summary, "%s %.2f; ", f->name, worst.worst);
    return good;
}

int main(int count, char **words) {
    int failures = 0, quick = count > 1 && strcmp(words[1], "quick") == 0;
    REQUIRE(quick || (count > 1 && strcmp(words[1], "all") == 0), "verify_approx all|quick [name ...]");
    static char summary[1000];
    parallel_threads((int)sysconf(_SC_NPROCESSORS_ONLN));
    for (size_t k = 0; k < COUNT(functions); k++) {
        int wanted = count == 2;
        for (int i = 2; i < count; i++) wanted |= strcmp(words[i], functions[k].name) == 0;
        if (wanted) failures += !measure(&functions[k], quick ? CHUNKS / 128 : CHUNKS, summary + strlen(summary));
    }
    printf("=> largest error over %s floats, in ulp: %s\n", quick ? "one in 128 of the 2^32" : "all 2^32", summary);
    parallel_threads(1);
    return failures != 0;
}
