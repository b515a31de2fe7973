/* The inside of `struct bpe`, for bpe_vocabulary.c, bpe_encode.c and bpe_long.c alone. */
#ifndef BPE_VOCABULARY_H
#define BPE_VOCABULARY_H

#include "bpe.h"

enum { BPE_NO_RANK = INT32_MAX, BPE_IDLE = 64 };

struct bpe_pair {
    uint64_t key; /* all ones: none */
    int32_t rank, made;
};

struct bpe_worker;

struct bpe {
    struct bpe_seed seed;
    int32_t byte_ids[256];
    struct bpe_pair *pairs; /* 2^(64 - shift) of them, open addressing */
    int shift;
    int64_t n_ranks; /* all ranks are below */
    const uint8_t *bytes; /* of the tokens that go before any merge; whole[] holds their index or -1 */
    int64_t *offsets;
    int32_t *numbers, *whole;
    int whole_shift;
    _Atomic(struct bpe_worker *) idle[BPE_IDLE];
};

void bpe_workers_free(struct bpe *bpe);

/* The pair, or an empty slot, whose rank is BPE_NO_RANK. */
static inline const struct bpe_pair *bpe_find_pair(const struct bpe *bpe, int32_t left, int32_t right) {
    uint64_t key = bpe_pair_key(left, right), mask = ~(uint64_t)0 >> bpe->shift;
    uint64_t i = (key * bpe->seed.first) >> bpe->shift;
    while (bpe->pairs[i].key != key && bpe->pairs[i].key != ~(uint64_t)0) i = (i + 1) & mask;
    return &bpe->pairs[i];
}

/* The number of the token that a whole piece is, or -1. */
int32_t bpe_find_whole(const struct bpe *bpe, const uint8_t *piece, int64_t n);

/* --- bpe_long.c --------------------------------------------------------------------------------------------------- */

struct bpe_queues { /* places by rank; empty between calls */
    struct queue *queues; /* of each rank */
    struct chunk *chunks;
    int64_t n_chunks, chunk_room;
    int32_t spare; /* the first chunk of a list of free ones, or -1 */
    int32_t *ready; /* a heap of the ranks whose queue is not empty */
    int64_t n_ready;
    uint64_t *late; /* a heap of rank, then place */
    int64_t n_late, late_room;
};
void bpe_queues_free(struct bpe_queues *q);

/* Merge n tokens in place; returns how many are left, or -1. */
int64_t bpe_merge_long(const struct bpe *bpe, struct bpe_queues *queues, int32_t *ids, int64_t n);

#endif
