/* Drives every kernel without Python: for sanitizers, against guard pages, and to compare bits between builds.
 *
 *     csrc_kernels heap|guard [level ...]
 *
 * Each kernel runs at each level, with 1 and 3 threads, over odd shapes, and must give the same bits every time. It
 * prints one hash per kernel, so that other compilers and other machines can be compared. `heap`: every array lies in
 * a malloc of exactly its size, where a sanitizer sees an element too many. `guard`: with 1 thread every array ends
 * at a page that nobody may touch, with 3 it begins behind one, and what a kernel may not write is read-only; a fault
 * names the array.
 *
 * A new kernel is called from csrc_kernels.h; one that nobody calls is a failure.
 */
#define _GNU_SOURCE
#include "csrc_levels.h"
#include "csrc_require.h"

#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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
static uint64_t hash_of[KERNELS], first_hash[KERNELS];
static int called[KERNELS];
static int current = -1; /* the kernel that runs, or ran last */

/* --- arrays that are forgotten together ------------------------------------------------------------------------ */

enum place { HEAP, END, START };
static enum place place;

static struct array {
    char *data, *map; /* map: pages around the data, the first and the last of which are closed */
    int64_t bytes, mapped;
    int output, sealed;
    uint64_t hash;
} kept[256];
static int arrays;
static uint64_t state;
static int awkward; /* put infinities, NaN and subnormals among the numbers */

static char *between_guards(struct array *a) {
    int64_t page = sysconf(_SC_PAGESIZE), inner = (a->bytes + page - 1) / page * page;
    a->mapped = inner + 2 * page;
    a->map = mmap(NULL, (size_t)a->mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(a->map != MAP_FAILED, "no memory for %lld bytes", (long long)a->bytes);
    if (inner) REQUIRE(!mprotect(a->map + page, (size_t)inner, PROT_READ | PROT_WRITE), "pages cannot be opened");
    return a->map + page + (place == END ? inner - a->bytes : 0);
}

static void *array(int64_t bytes) {
    REQUIRE(arrays < 64, "too many arrays");
    struct array *a = &kept[arrays++];
    *a = (struct array){.bytes = bytes};
    return a->data = place == HEAP ? malloc((size_t)bytes) : between_guards(a);
}

/* From now on, writing to the array is a fault. */
static void seal(struct array *a) {
    int64_t page = sysconf(_SC_PAGESIZE);
    if (a->map && !a->sealed && a->mapped > 2 * page)
        REQUIRE(!mprotect(a->map + page, (size_t)(a->mapped - 2 * page), PROT_READ), "pages cannot be sealed");
    a->sealed = 1;
}

static void explain_fault(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    char *at = info->si_addr;
    const char *name = current < 0 ? "the driver" : names[current];
    for (int i = 0; i < arrays; i++)
        if (kept[i].map && at >= kept[i].map && at < kept[i].map + kept[i].mapped) {
            fprintf(stderr, "%s at level %s touches byte %lld of array %d, %s of %lld bytes%s\n", name, kernels->level,
                    (long long)(at - kept[i].data), i, kept[i].output ? "an output" : "an input",
                    (long long)kept[i].bytes, kept[i].sealed ? " that is read-only" : "");
            _exit(1);
        }
    fprintf(stderr, "%s at level %s touches memory that is nobody's\n", name, kernels->level);
    _exit(1);
}

/* --- numbers to work on ---------------------------------------------------------------------------------------- */

static uint64_t next(void) { /* SplitMix64 */
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static float *out(int64_t n) {
    float *x = array(n * 4);
    if (n) memset(x, 0xff, (size_t)(n * 4)); /* NaN: an element that nobody writes shows */
    kept[arrays - 1].output = 1;
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

/* --- calling a kernel, and what it wrote ----------------------------------------------------------------------- */

static uint64_t mix(uint64_t hash, uint64_t word) { return (hash ^ word) * 1099511628211u; }

/* Which of two NaN a sum passes on is the compiler's choice, so all NaN count as one. */
static uint64_t hash_array(const struct array *a) {
    uint64_t hash = 14695981039346656037u;
    for (int64_t i = 0; i < a->bytes / 4; i++) {
        uint32_t word;
        memcpy(&word, a->data + 4 * i, 4);
        hash = mix(hash, (word & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : word);
    }
    for (int64_t i = a->bytes / 4 * 4; i < a->bytes; i++) hash = mix(hash, (unsigned char)a->data[i]);
    return hash;
}

/* What has changed since the last call is the last kernel's result, and an input of those that follow. */
static void settle(void) {
    for (int i = 0; i < arrays; i++) {
        struct array *a = &kept[i];
        if (!a->output || a->sealed) continue;
        uint64_t hash = hash_array(a);
        if (current >= 0 && a->hash && hash != a->hash) {
            hash_of[current] = mix(hash_of[current], hash);
            seal(a);
        }
        a->hash = hash;
    }
}

static void begin(int kernel) {
    settle();
    current = kernel;
    called[kernel]++;
    for (int i = 0; i < arrays; i++)
        if (!kept[i].output) seal(&kept[i]);
}

/* Scratch memory is an output that does not count: `scratch(n)` bytes may be written, and are not compared. */
static void *scratch(int64_t bytes) {
    void *x = array(bytes);
    kept[arrays - 1].sealed = 1;
    return x;
}

static void forget(void) {
    settle();
    for (int i = 0; i < arrays; i++) {
        if (kept[i].map) munmap(kept[i].map, (size_t)kept[i].mapped);
        else free(kept[i].data);
    }
    arrays = 0;
    current = -1;
}

#define CALL(name) (begin(index_##name), kernels->name)

#include "csrc_kernels.h"

#include "csrc_offences.h"

/* --- all of it ------------------------------------------------------------------------------------------------- */

static void run_all(void) {
    const char *offence = getenv("OFFENCE"); /* in `add`: the others need not be driven */
    memset(hash_of, 0, sizeof hash_of);
    state = 1;
    for (awkward = 0; awkward < 2; awkward++)
        for (size_t i = 0; i < COUNT(drives); i++)
            for (size_t shape = 0; shape < COUNT(sizes); shape++) {
                if (offence && drives[i] != drive_table) continue;
                drives[i](sizes[shape][0], sizes[shape][1]);
                forget();
            }
}

static int is_by_level(int kernel) {
    for (size_t i = 0; i < COUNT(by_level); i++)
        if (by_level[i] == kernel) return 1;
    return 0;
}

/* Compare with the first run, or the first one of this level; return how many kernels differ. */
static int compare(const char *level, int threads) {
    static const char *last;
    int differ = 0;
    for (int i = 0; i < KERNELS && last != level; i++)
        if (!last || is_by_level(i)) first_hash[i] = hash_of[i];
    last = level;
    for (int i = 0; i < KERNELS; i++)
        if (hash_of[i] != first_hash[i]) {
            fprintf(stderr, "%s: other bits at level %s with %d threads\n", names[i], level, threads);
            differ++;
        }
    return differ;
}

static int wanted(const char *level, int count, char **levels) {
    for (int i = 0; i < count; i++)
        if (strcmp(level, levels[i]) == 0) return 1;
    return count == 0;
}

int main(int count, char **words) {
    static const int threads[] = {1, 3};
    int differ = 0, guarded = count > 1 && strcmp(words[1], "guard") == 0;
    REQUIRE(guarded || (count > 1 && strcmp(words[1], "heap") == 0), "csrc_kernels heap|guard [level ...]");
    if (guarded) {
        struct sigaction action = {.sa_sigaction = explain_fault, .sa_flags = SA_SIGINFO};
        sigaction(SIGSEGV, &action, NULL);
        sigaction(SIGBUS, &action, NULL);
    }
    for (const struct kernels *const *level = all_levels(); *level; level++)
        for (size_t i = 0; i < COUNT(threads) && wanted((*level)->level, count - 2, words + 2); i++) {
            place = !guarded ? HEAP : i ? START : END;
            kernels = *level;
            offend();
            parallel_threads(threads[i]);
            run_all();
            differ += compare((*level)->level, threads[i]);
        }
    if (differ) return 1;
    for (int i = 0; i < KERNELS; i++) {
        REQUIRE(called[i], "kernel %s is never called: add it to tests/proofs/csrc_kernels.h", names[i]);
        if (is_by_level(i)) printf("%s by-level\n", names[i]);
        else printf("%s %016llx\n", names[i], (unsigned long long)first_hash[i]);
    }
    parallel_threads(1); /* joins the workers */
    pool_empty();
    return 0;
}
