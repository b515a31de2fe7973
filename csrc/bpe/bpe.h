/* Declare byte pair encoding in C: what the files of csrc/bpe share, and what csrc/glue/bpe.pxi calls.
 *
 * The rules are those of tinyllm.h: plain C11, outputs first, sizes are int64_t, no function prints or keeps state
 * beyond the structs here. Functions that allocate return -1 or NULL when there is no memory. Tokens are int32_t and
 * not negative. No result depends on the number of threads, or on the order of entries in a hash table.
 */
#ifndef BPE_H
#define BPE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BPE_INLINE = 15 }; /* a piece of up to 15 bytes fits a 16-byte key, with its length in the last byte */

/* --- keys and hashes ---------------------------------------------------------------------------------------------- */

/* The multipliers come from a memory address, so that nobody can prepare a text whose entries collide. */

struct bpe_key { uint64_t low, high; };
struct bpe_seed { uint64_t first, second; }; /* both odd */

static inline uint64_t bpe_mix(uint64_t x) { /* Steele, Lea and Flood 2014: the finaliser of splitmix64 */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline struct bpe_seed bpe_seed(const void *address) {
    uint64_t x = (uint64_t)(uintptr_t)address;
    return (struct bpe_seed){bpe_mix(x + 0x9e3779b97f4a7c15u) | 1, bpe_mix(x + 0x3c6ef372fe94f82au) | 1};
}

/* Hash a key. Callers use the top bits, which depend on all bits of the key. */
static inline uint64_t bpe_hash(struct bpe_seed seed, struct bpe_key key) {
    uint64_t h = key.low * seed.first;
    return ((h ^ (h >> 32)) + key.high) * seed.second;
}

static inline uint64_t bpe_load8(const uint8_t *p) {
    uint64_t x;
    memcpy(&x, p, 8);
    return x;
}

/* Make a key from a piece of n <= BPE_INLINE bytes, and its length. `left` >= n bytes may be read at p. */
static inline struct bpe_key bpe_key(const uint8_t *p, int64_t n, int64_t left) {
    uint8_t copy[16] = {0};
    if (left < 16) p = memcpy(copy, p, (size_t)n);
    uint64_t low = bpe_load8(p), high = bpe_load8(p + 8), tag = (uint64_t)n << 56;
    if (n < 8) return (struct bpe_key){low & ~(~(uint64_t)0 << (8 * n)), tag};
    return (struct bpe_key){low, (high & ~(~(uint64_t)0 << (8 * (n - 8)))) | tag};
}

/* Hash many bytes, eight at a time. */
static inline uint64_t bpe_hash_bytes(struct bpe_seed seed, const uint8_t *p, int64_t n) {
    uint64_t h = (uint64_t)n * seed.second;
    for (; n >= 8; p += 8, n -= 8) {
        h = (h ^ bpe_load8(p)) * seed.first;
        h ^= h >> 32;
    }
    struct bpe_key rest = bpe_key(p, n, n);
    return ((h ^ rest.low) * seed.first + rest.high) * seed.second;
}

static inline uint64_t bpe_pair_key(int32_t left, int32_t right) {
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* Make room for `need` items in a block from malloc; if it must grow, at least double it. Return NULL, and leave the
 * block as it was, if there is no memory. */
static inline void *bpe_grow(void *block, int64_t *room, int64_t need, size_t size) {
    if (need <= *room) return block;
    int64_t more = need > 2 * *room ? need : 2 * *room;
    if (more < 64) more = 64;
    void *larger = more < INT64_MAX / 256 ? realloc(block, (size_t)more * size) : NULL;
    if (larger) *room = more;
    return larger;
}

/* --- text --------------------------------------------------------------------------------------------------------- */

struct bpe_text {
    const uint8_t *bytes;
    int64_t n;
    int pattern; /* the pattern that cuts it, from the enum in pieces.h */
};

struct bpe_part { /* part of a text: whole pieces, for one thread */
    int64_t text, begin, end; /* byte range [begin, end) */
    int64_t count;
    int32_t *ids; /* the result, from malloc */
};

/* Cut texts into *n parts; *parts comes from malloc. Return -1 if there is no memory. (parts.c) */
int bpe_cut(struct bpe_part **parts, int64_t *n, const struct bpe_text *texts, int64_t n_texts);
void bpe_parts_free(struct bpe_part *parts, int64_t n);

/* Call each(context, thread, i) for the parts first to last - 1, on at most `most` threads. Parts take unequal time, so
 * a thread that is done takes the next part. After a call that does not return 0, stop and return -1; else return 0. */
int bpe_each_part(int (*each)(void *context, int64_t thread, int64_t i), void *context, int64_t first, int64_t last,
                  int64_t most);

enum { BPE_ENDS = 512 }; /* how many ends of pieces are found at a time */

/* --- vocab.c, encode.c ------------------------------------------------------------------------------------- */

struct bpe_vocab;   /* does not change once it is made */
struct bpe_encoder; /* a vocabulary and idle workers; many threads may share it */

/* Make a vocabulary. byte_ids [256]: -1 - i for a byte i without a token. Pair i merges left[i], right[i] into made[i],
 * the smallest i first. Each of n_tokens has its bytes at offsets[i] up to offsets[i + 1]; a piece that equals them
 * becomes the token numbers[i] without merging. Return NULL if there is no memory. */
struct bpe_vocab *bpe_vocab_new(const int32_t *byte_ids, const int32_t *left, const int32_t *right,
                                const int32_t *made, int64_t n_pairs, const uint8_t *bytes, const int64_t *offsets,
                                const int32_t *numbers, int64_t n_tokens);
void bpe_vocab_free(struct bpe_vocab *vocab);

/* Make an encoder; free it before the vocabulary. Return NULL if there is no memory. */
struct bpe_encoder *bpe_encoder_new(const struct bpe_vocab *vocab);
void bpe_encoder_free(struct bpe_encoder *encoder);

/* Encode the parts first to last - 1, in parallel. Return -1 if there is no memory, or a piece of 2 GiB. */
int bpe_encode_parts(struct bpe_encoder *encoder, const struct bpe_text *texts, struct bpe_part *parts, int64_t first,
                     int64_t last);

/* Encode a text of n bytes on this thread. ids has room for n + BPE_SPARE. Return the number of ids, or -1. */
enum { BPE_SPARE = 4 };
int64_t bpe_encode_short(struct bpe_encoder *encoder, const struct bpe_text *text, int32_t *ids);

/* Merge n tokens in place; return how many are left, or -1 if there is no memory or n is too large. (merge.c) */
int64_t bpe_merge_ids(const struct bpe_vocab *vocab, int32_t *ids, int64_t n);

/* --- count.c, train.c ------------------------------------------------------------------------------------------- */

struct bpe_counter; /* the distinct pieces, and how often each occurs */

struct bpe_counter *bpe_counter_new(void);
void bpe_counter_free(struct bpe_counter *counter);
int bpe_count_parts(struct bpe_counter *counter, const struct bpe_text *texts, const struct bpe_part *parts,
                    int64_t first, int64_t last);
int bpe_count_one(struct bpe_counter *counter, const uint8_t *piece, int64_t n, int64_t count);
int bpe_counter_merge(struct bpe_counter *counter);          /* add up the counts of all threads */
int64_t bpe_counter_cells(const struct bpe_counter *counter); /* how many cells bpe_counter_lay writes */

enum { BPE_GAP = -1 }; /* the cell between two pieces, so that no pair has tokens of both */

struct bpe_cell { int32_t id, weight; }; /* a token, and how often its piece occurs */

/* Write every piece as tokens with a gap after it; a piece that occurs 2^31 times or more is written several times. */
void bpe_counter_lay(struct bpe_cell *cells, const struct bpe_counter *counter);

struct bpe_trainer;

/* Make a trainer from a counter, which may then be freed. Return NULL if there is no memory, or 2^31 cells or more. */
struct bpe_trainer *bpe_trainer_new(const struct bpe_counter *counter, int64_t most_merges);
void bpe_trainer_free(struct bpe_trainer *trainer);

/* Merge until there are `merges` merges or no pair is left; return how many there are now, or -1. */
int64_t bpe_trainer_run(struct bpe_trainer *trainer, int64_t merges);
const int32_t *bpe_trainer_pairs(const struct bpe_trainer *trainer); /* left, right, left, right ... */

#endif
