/* The inside of `struct bpe_vocab`, for vocab.c, cuts.c, encode.c and long.c, and the interfaces of cuts.c and long.c. */
#ifndef BPE_VOCAB_H
#define BPE_VOCAB_H

#include "bpe.h"
#include "heap.h"

enum { BPE_NO_RANK = INT32_MAX };

struct bpe_pair {
    uint64_t key; /* all ones: none */
    int32_t rank, made;
};

struct bpe_vocab {
    struct bpe_seed seed;
    int32_t byte_ids[256];
    struct bpe_pair *pairs; /* 2^(64 - shift) of them, open addressing */
    int shift;
    int64_t n_ranks; /* all ranks are below */
    uint8_t *bytes;  /* of the tokens that go before any merge; whole[] holds their index or -1 */
    int64_t *offsets;
    int32_t *numbers, *whole;
    int whole_shift, joined_shift;
    uint64_t *joined, *halves; /* sets of cuts.c; NULL: nothing is cut */
};

/* Find a pair; what is not there is an empty slot, whose rank is BPE_NO_RANK. */
static inline const struct bpe_pair *bpe_find_pair(const struct bpe_vocab *vocab, int32_t left, int32_t right) {
    uint64_t key = bpe_pair_key(left, right), mask = ~(uint64_t)0 >> vocab->shift;
    uint64_t i = (key * vocab->seed.first) >> vocab->shift;
    while (vocab->pairs[i].key != key && vocab->pairs[i].key != ~(uint64_t)0) i = (i + 1) & mask;
    return &vocab->pairs[i];
}

/* Find the number of the token that a whole piece is, or -1. */
int32_t bpe_find_whole(const struct bpe_vocab *vocab, const uint8_t *piece, int64_t n);

/* --- cuts.c -------------------------------------------------------------------------------------------------------- */

/* Learn from all tokens where pieces can be cut. -1: no memory. */
int bpe_add_cuts(struct bpe_vocab *vocab, const uint8_t *bytes, const int64_t *offsets, int64_t n);

/* The first place behind `at`, which is 0 or a cut, where no token reaches across; n where there is none. */
int64_t bpe_next_cut(const struct bpe_vocab *vocab, const uint8_t *piece, int64_t n, int64_t at);

/* --- long.c ------------------------------------------------------------------------------------------------------- */

struct bpe_queues { /* places by rank; empty between calls */
    struct queue *queues; /* of each rank */
    struct chunk *chunks;
    int64_t n_chunks, chunk_room;
    int32_t spare;           /* the first chunk of a list of free ones, or -1 */
    struct bpe_heap ready;   /* ranks whose queue is not empty */
    struct bpe_heap pending; /* rank, then place: places that came too late for their queue */
};
void bpe_queues_free(struct bpe_queues *q);

/* Merge n tokens in place; returns how many are left, or -1. */
int64_t bpe_merge_long(const struct bpe_vocab *vocab, struct bpe_queues *queues, int32_t *ids, int64_t n);

#endif
