/* Store a vocabulary in two hash tables, of pairs and of tokens by their bytes; half of the slots or more are empty. */
#include "vocab.h"

/* Return how far to shift a hash so that `n` entries fill at most half of the slots. */
static int shift_for(int64_t n) {
    int bits = 4;
    while (((int64_t)1 << bits) < 2 * n) bits++;
    return 64 - bits;
}

static int add_pairs(struct bpe_vocab *vocab, const int32_t *left, const int32_t *right, const int32_t *made,
                     int64_t n) {
    vocab->shift = shift_for(n);
    int64_t slots = (int64_t)1 << (64 - vocab->shift);
    vocab->pairs = malloc((size_t)slots * sizeof *vocab->pairs);
    vocab->marks = calloc((size_t)slots, 1);
    if (!vocab->pairs || !vocab->marks) return -1;
    for (int64_t i = 0; i < n; i++) {
        uint64_t key = bpe_pair_key(left[i], right[i]), slot = bpe_pair_slot(vocab, key);
        vocab->pairs[slot] = (struct bpe_pair){key, (int32_t)i, made[i]};
        vocab->marks[slot] = bpe_pair_mark(vocab, key);
    }
    return 0;
}

/* Return the slot of the token that equals a piece, or the empty slot where it would be. */
static struct bpe_whole *whole_slot(const struct bpe_vocab *vocab, const uint8_t *piece, int64_t n) {
    uint64_t mask = ~(uint64_t)0 >> vocab->whole_shift;
    uint64_t i = bpe_hash_bytes(vocab->seed, piece, n) >> vocab->whole_shift;
    for (; vocab->whole[i].n; i = (i + 1) & mask)
        if (vocab->whole[i].n == n && memcmp(vocab->bytes + vocab->whole[i].at, piece, (size_t)n) == 0) break;
    return &vocab->whole[i];
}

static int add_whole(struct bpe_vocab *vocab, const uint8_t *bytes, const int64_t *offsets, const int32_t *numbers,
                     int64_t n) {
    if (n == 0) return 0;
    vocab->whole_shift = shift_for(n);
    vocab->whole = calloc((size_t)1 << (64 - vocab->whole_shift), sizeof *vocab->whole);
    vocab->bytes = malloc((size_t)offsets[n] + 1);
    if (!vocab->bytes || !vocab->whole) return -1;
    memcpy(vocab->bytes, bytes, (size_t)offsets[n]);
    for (int64_t i = 0; i < n; i++) {
        int64_t length = offsets[i + 1] - offsets[i];
        *whole_slot(vocab, bytes + offsets[i], length) = (struct bpe_whole){offsets[i], length, numbers[i]};
    }
    return 0;
}

int32_t bpe_find_whole(const struct bpe_vocab *vocab, const uint8_t *piece, int64_t n) {
    const struct bpe_whole *found = vocab->whole ? whole_slot(vocab, piece, n) : NULL;
    return found && found->n ? found->number : -1;
}

struct bpe_vocab *bpe_vocab_new(const int32_t *byte_ids, const int32_t *left, const int32_t *right,
                                const int32_t *made, int64_t n_pairs, const uint8_t *bytes, const int64_t *offsets,
                                const int32_t *numbers, int64_t n_tokens) {
    if (n_pairs > INT32_MAX || n_tokens > INT32_MAX) return NULL;
    struct bpe_vocab *vocab = calloc(1, sizeof *vocab);
    if (!vocab) return NULL;
    vocab->seed = bpe_seed(vocab);
    memcpy(vocab->byte_ids, byte_ids, sizeof vocab->byte_ids);
    if (add_pairs(vocab, left, right, made, n_pairs) == 0 &&
        add_whole(vocab, bytes, offsets, numbers, n_tokens) == 0) return vocab;
    bpe_vocab_free(vocab);
    return NULL;
}

void bpe_vocab_free(struct bpe_vocab *vocab) {
    if (!vocab) return;
    free(vocab->pairs);
    free(vocab->marks);
    free(vocab->bytes);
    free(vocab->whole);
    free(vocab);
}
