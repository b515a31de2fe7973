/* What the fuzzed code is asked and measured with: choices from the input, memory of exactly the size that was told. */
#ifndef FUZZ_H
#define FUZZ_H

#include "bpe.h"
#include "csrc_require.h"
#include "pieces.h"
#include "tinyllm.h"

enum { MERGES = 48, TOKENS = 256 + MERGES, SLOW = 400, NONE = -1 }; /* SLOW: bytes that the slow loops are given */

extern const uint8_t *input; /* what is left of it */
extern int64_t input_size;

static inline int64_t choose(int64_t below) { /* by a byte from the front of the input; 0 behind its end */
    if (input_size == 0) return 0;
    input_size--;
    return *input++ % below;
}

static inline void *room(int64_t n, size_t size) { /* n things, and not one more */
    void *memory = malloc((size_t)n * size + !n);
    REQUIRE(memory, "no memory");
    return memory;
}

static inline uint8_t *copy_of(const uint8_t *bytes, int64_t n) {
    uint8_t *copy = room(n, 1);
    if (n) memcpy(copy, bytes, (size_t)n);
    return copy;
}

/* Whether n things of a size are the same; none of nothing are. */
static inline int same(const void *a, const void *b, int64_t n, size_t size) {
    return n == 0 || memcmp(a, b, (size_t)n * size) == 0;
}

/* The ends of all pieces; there are at most n. */
static inline int64_t ends_of(int64_t *ends, int pattern, const uint8_t *text, int64_t n) {
    int64_t count = 0;
    for (int64_t at = 0; at < n; at = ends[count++]) {
        REQUIRE(piece_ends(ends + count, 1, pattern, text, n, at) == 1, "one piece is not one");
        REQUIRE(ends[count] > at && ends[count] <= n, "a piece from %lld to %lld of %lld", (long long)at,
                (long long)ends[count], (long long)n);
    }
    return count;
}

/* A text as two parts that are encoded or counted one by one: bytes, or pieces where it has ends. With NONE for the cut
 * it is in parts as the library cuts it. Returns how many. */
static inline int64_t cut_parts(struct bpe_part **made, const struct bpe_text *text, int64_t cut) {
    int64_t n = 0, end = text->ends ? text->n_ends : text->n;
    if (cut == NONE) {
        REQUIRE(bpe_cut(made, &n, text, 1) == 0, "no memory");
        return n;
    }
    struct bpe_part *parts = *made = room(2, sizeof *parts);
    if (cut > 0) parts[n++] = (struct bpe_part){.end = cut};
    if (cut < end) parts[n++] = (struct bpe_part){.begin = cut, .end = end};
    return n;
}

void fuzz_encode(void);
void fuzz_merge(void);
void fuzz(const char *name, const uint8_t *data, int64_t size); /* run one of the targets on an input */

#endif
