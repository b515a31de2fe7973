/* A vocabulary in two hash tables: pairs of tokens, and tokens by their bytes. Both leave half of their slots empty. */
#include "bpe_vocabulary.h"

#include <stdlib.h>

/* How far to shift a hash so that `n` entries fill at most half of the slots. */
static int shift_for(int64_t n) {
    int bits = 4;
    while (((int64_t)1 << bits) < 2 * n) bits++;
    return 64 - bits;
}

static int add_pairs(struct bpe *bpe, const int32_t *left, const int32_t *right, const int32_t *made,
                     const int32_t *rank, int64_t n) {
    bpe->shift = shift_for(n);
    int64_t slots = (int64_t)1 << (64 - bpe->shift);
    bpe->pairs = malloc((size_t)slots * sizeof *bpe->pairs);
    if (!bpe->pairs) return -1;
    for (int64_t i = 0; i < slots; i++) bpe->pairs[i] = (struct bpe_pair){~(uint64_t)0, BPE_NO_RANK, -1};
    for (int64_t i = 0; i < n; i++) {
        const struct bpe_pair pair = {bpe_pair_key(left[i], right[i]), rank[i], made[i]};
        bpe->pairs[bpe_find_pair(bpe, left[i], right[i]) - bpe->pairs] = pair;
        if (rank[i] >= bpe->n_ranks) bpe->n_ranks = (int64_t)rank[i] + 1;
    }
    return 0;
}

/* The slot of a piece among the whole tokens: where it is, or the empty one where it would be. */
static int64_t whole_slot(const struct bpe *bpe, const uint8_t *piece, int64_t n) {
    uint64_t mask = ~(uint64_t)0 >> bpe->whole_shift;
    uint64_t i = bpe_hash_bytes(bpe->seed, piece, n) >> bpe->whole_shift;
    for (; bpe->whole[i] >= 0; i = (i + 1) & mask) {
        const int64_t *at = &bpe->offsets[bpe->whole[i]];
        if (at[1] - at[0] == n && memcmp(bpe->bytes + at[0], piece, (size_t)n) == 0) break;
    }
    return (int64_t)i;
}

static int add_whole(struct bpe *bpe, const uint8_t *bytes, const int64_t *offsets, const int32_t *numbers, int64_t n) {
    if (n == 0) return 0;
    bpe->whole_shift = shift_for(n);
    int64_t slots = (int64_t)1 << (64 - bpe->whole_shift);
    uint8_t *own = malloc((size_t)offsets[n] + 1);
    bpe->bytes = own;
    bpe->offsets = malloc((size_t)(n + 1) * sizeof *bpe->offsets);
    bpe->numbers = malloc((size_t)n * sizeof *bpe->numbers);
    bpe->whole = malloc((size_t)slots * sizeof *bpe->whole);
    if (!own || !bpe->offsets || !bpe->numbers || !bpe->whole) return -1;
    memcpy(own, bytes, (size_t)offsets[n]);
    memcpy(bpe->offsets, offsets, (size_t)(n + 1) * sizeof *offsets);
    memcpy(bpe->numbers, numbers, (size_t)n * sizeof *numbers);
    for (int64_t i = 0; i < slots; i++) bpe->whole[i] = -1;
    for (int64_t i = 0; i < n; i++) bpe->whole[whole_slot(bpe, bytes + offsets[i], offsets[i + 1] - offsets[i])] = (int32_t)i;
    return 0;
}

int32_t bpe_find_whole(const struct bpe *bpe, const uint8_t *piece, int64_t n) {
    if (!bpe->whole) return -1;
    int32_t found = bpe->whole[whole_slot(bpe, piece, n)];
    return found < 0 ? -1 : bpe->numbers[found];
}

struct bpe *bpe_new(const int32_t *byte_ids, const int32_t *left, const int32_t *right, const int32_t *made,
                    const int32_t *rank, int64_t n_pairs, const uint8_t *bytes, const int64_t *offsets,
                    const int32_t *numbers, int64_t n_tokens) {
    if (n_pairs > INT32_MAX || n_tokens > INT32_MAX) return NULL;
    struct bpe *bpe = calloc(1, sizeof *bpe);
    if (!bpe) return NULL;
    bpe->seed = bpe_seed(bpe);
    memcpy(bpe->byte_ids, byte_ids, sizeof bpe->byte_ids);
    if (add_pairs(bpe, left, right, made, rank, n_pairs) == 0 && add_whole(bpe, bytes, offsets, numbers, n_tokens) == 0)
        return bpe;
    bpe_free(bpe);
    return NULL;
}

void bpe_free(struct bpe *bpe) {
    if (!bpe) return;
    bpe_workers_free(bpe);
    free(bpe->pairs);
    free((void *)bpe->bytes);
    free(bpe->offsets);
    free(bpe->numbers);
    free(bpe->whole);
    free(bpe);
}
