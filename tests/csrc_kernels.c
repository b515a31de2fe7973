/* Drives every kernel without Python, so that sanitizers can watch (verify_sanitizers.py).
 *
 * Each kernel runs at each level, with 1 and 3 threads, over odd shapes, and the bits of all results must agree.
 * Every array lies in a malloc of exactly its size, so that touching one element too many is seen. A new kernel is
 * called from csrc_kernels.h; one that nobody calls is a failure.
 */
#include "csrc_require.h"
#include "tinyllm.h"

#include <math.h>
#include <string.h>

/* --- arrays that are forgotten together ------------------------------------------------------------------------ */

static void *kept[64];
static int64_t bytes_of[64];
static int arrays, results; /* the first `results` arrays are outputs */
static uint64_t state;
static int awkward; /* put infinities, NaN and subnormals among the numbers */

static void *array(int64_t bytes) {
    REQUIRE(arrays < 64, "too many arrays");
    bytes_of[arrays] = bytes;
    return kept[arrays++] = malloc((size_t)bytes);
}

static uint64_t next(void) { /* SplitMix64 */
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static float *out(int64_t n) {
    float *x = array(n * 4);
    memset(x, 0xff, (size_t)(n * 4)); /* NaN: an element that nobody writes shows */
    results = arrays;
    return x;
}
static float *in(int64_t n) {
    static const float special[] = {INFINITY, -INFINITY, NAN, 1e-45f, 3.4e38f, 0.0f, -0.0f, -3.4e38f};
    float *x = array(n * 4);
    for (int64_t i = 0; i < n; i++) {
        x[i] = (float)(int64_t)(next() >> 40) / 4194304.0f - 2.0f; /* -2 to 2 */
        if (awkward && next() % 16 == 0) x[i] = special[next() % COUNT(special)];
    }
    return x;
}
static float *positive(int64_t n) {
    float *x = in(n);
    for (int64_t i = 0; i < n; i++) x[i] = isfinite(x[i]) ? fabsf(x[i]) : 1.0f;
    return x;
}
static int64_t *ids(int64_t n, int64_t below) {
    int64_t *x = array(n * 8);
    for (int64_t i = 0; i < n; i++) x[i] = (int64_t)(next() % (uint64_t)below);
    return x;
}
static uint8_t *flags(int64_t n) {
    uint8_t *x = array(n);
    for (int64_t i = 0; i < n; i++) x[i] = next() & 1;
    return x;
}

static uint64_t hash_and_forget(void) {
    uint64_t hash = 14695981039346656037u;
    for (int i = 0; i < arrays; i++) {
        const uint32_t *word = kept[i];
        for (int64_t j = 0; i < results && j < bytes_of[i] / 4; j++) {
            int nan = (word[j] & 0x7fffffff) > 0x7f800000; /* which of two NaN a sum passes on is the compiler's choice */
            hash = (hash ^ (nan ? 0x7fc00000 : word[j])) * 1099511628211u;
        }
        free(kept[i]);
    }
    arrays = results = 0;
    return hash;
}

/* --- every kernel of the table --------------------------------------------------------------------------------- */

enum {
#define X(file, result, name, arguments) index_##name,
    TINYLLM_KERNELS(X)
#undef X
    KERNELS
};
static const char *const names[] = {
#define X(file, result, name, arguments) #name,
    TINYLLM_KERNELS(X)
#undef X
};
static int called[KERNELS];
#define CALL(name) (called[index_##name]++, kernels->name)

#include "csrc_kernels.h"

/* One number that every bit of every result goes into. */
static uint64_t run_all(void) {
    uint64_t hash = 0;
    state = 1;
    for (awkward = 0; awkward < 2; awkward++)
        for (size_t i = 0; i < COUNT(drives); i++)
            for (size_t shape = 0; shape < COUNT(sizes); shape++) {
                drives[i](sizes[shape][0], sizes[shape][1]);
                hash = hash * 31 + hash_and_forget();
            }
    return hash;
}

int main(void) {
    static const int threads[] = {1, 3};
    uint64_t first = 0;
    for (const struct kernels *const *level = cpu_levels(); *level; level++)
        for (size_t i = 0; i < COUNT(threads); i++) {
            cpu_use((*level)->level);
            parallel_threads(threads[i]);
            uint64_t hash = run_all();
            if (first == 0) first = hash;
            REQUIRE(hash == first, "other bits at level %s with %d threads", (*level)->level, threads[i]);
        }
    for (int i = 0; i < KERNELS; i++)
        REQUIRE(called[i], "kernel %s is never called: add it to tests/csrc_kernels.h", names[i]);
    printf("%d kernels, the same bits at every level, with 1 and 3 threads: %016llx\n", KERNELS,
           (unsigned long long)first);
    parallel_threads(1); /* joins the workers */
    pool_empty();
    return 0;
}
