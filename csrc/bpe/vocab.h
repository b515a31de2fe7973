/* Declare the fields of `struct bpe_vocab` for vocab.c, encode.c and merge.c. */
#ifndef BPE_VOCAB_H
#define BPE_VOCAB_H

#include "bpe.h"

enum { BPE_NO_RANK = INT32_MAX, BPE_NO_TOKEN = INT32_MIN };

struct bpe_pair {
    uint64_t key;
    int32_t rank, made;
};

struct bpe_whole { int64_t at, n; int32_t number; }; /* where a token's n bytes begin, and its id; n = 0: empty */

struct bpe_vocab {
    struct bpe_seed seed;
    int32_t byte_ids[256];
    struct bpe_pair *pairs; /* 2^(64 - shift) of them, open addressing */
    uint8_t *marks;         /* for each slot of `pairs`: 0 if it is empty, else some bits of the hash */
    int shift;
    uint8_t *bytes;          /* of the tokens in `whole` */
    struct bpe_whole *whole; /* 2^(64 - whole_shift) of them, open addressing */
    int whole_shift;
};

static inline uint8_t bpe_pair_mark(const struct bpe_vocab *vocab, uint64_t key) {
    return (uint8_t)(key * vocab->seed.first >> (vocab->shift - 8)) | 1; /* the bits below those of the slot; never 0 */
}

/* Return the slot of a pair, or the empty slot where it would be. Most pairs are unknown; to find that out takes only
 * the marks, which fit the L2 cache of a core, unlike the pairs. */
static inline uint64_t bpe_pair_slot(const struct bpe_vocab *vocab, uint64_t key) {
    uint64_t mask = ~(uint64_t)0 >> vocab->shift, hash = key * vocab->seed.first, i = hash >> vocab->shift;
    uint8_t mark = bpe_pair_mark(vocab, key), there;
    while ((there = vocab->marks[i]) != 0 && (there != mark || vocab->pairs[i].key != key)) i = (i + 1) & mask;
    return i;
}

/* Find a pair; an unknown pair has the rank BPE_NO_RANK. */
static inline const struct bpe_pair *bpe_find_pair(const struct bpe_vocab *vocab, int32_t left, int32_t right) {
    static const struct bpe_pair none = {~(uint64_t)0, BPE_NO_RANK, -1};
    uint64_t i = bpe_pair_slot(vocab, bpe_pair_key(left, right));
    return vocab->marks[i] ? &vocab->pairs[i] : &none;
}

/* Return the id of the token that equals a whole piece, or -1. */
int32_t bpe_find_whole(const struct bpe_vocab *vocab, const uint8_t *piece, int64_t n);

#endif
