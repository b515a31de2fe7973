/* Encode text: merge the known pair of smallest rank, the leftmost if it occurs twice, until none is left.
 *
 * The specification looks at the whole piece again for every merge; merge.c looks only at the two pairs that a merge
 * makes. Text repeats its words, so most pieces need not be merged: each worker has a cache of pieces of up to 15 bytes
 * and four tokens, with one piece per slot and the piece as a 16-byte key. A look-up takes a hash, a comparison and a
 * copy of four tokens; if the piece has fewer, the next piece overwrites the rest. Pieces of 16 to 52 bytes have a
 * cache of their own: without it, encoding source code takes a fifth longer.
 */
#include "bpe.h"
#include "pieces.h"
#include "vocab.h"

#include <stdatomic.h>

enum {
    SLOT_BITS = 15,  /* 2^15 slots of 32 bytes: 1 MB, which fits a core's L2 cache */
    SLOT_TOKENS = BPE_SPARE,
    COUNT_BIT = 61, /* the bits below hold the length of the piece */
    WORD = 52, WORD_TOKENS = 16, WORD_BITS = 12, /* half a megabyte */
    IDLE = 64, /* the most idle workers that are kept */
};

struct slot {
    struct bpe_key key; /* in `high`, from COUNT_BIT on, how many tokens there are */
    int32_t ids[SLOT_TOKENS];
};

struct word { /* a longer piece, 128 bytes in all */
    uint64_t hash;
    int16_t n, count;
    uint8_t bytes[WORD];
    int32_t ids[WORD_TOKENS];
};

struct bpe_worker { /* what one thread needs while it encodes; kept for the next time */
    struct slot slots[1 << SLOT_BITS];
    struct word words[1 << WORD_BITS];
    int64_t ends[BPE_ENDS];
};

struct bpe_encoder {
    const struct bpe_vocab *vocab;
    _Atomic(struct bpe_worker *) idle[IDLE];
};

/* --- parts of a text ---------------------------------------------------------------------------------------------- */

static int64_t encode_bytes(const struct bpe_vocab *vocab, int32_t *out, const uint8_t *piece, int64_t n) {
    int32_t whole = bpe_find_whole(vocab, piece, n);
    if (whole >= 0) {
        out[0] = whole;
        return 1;
    }
    for (int64_t i = 0; i < n; i++) out[i] = vocab->byte_ids[piece[i]];
    return bpe_merge_ids(vocab, out, n);
}

/* Encode a piece of at most BPE_INLINE bytes, with the cache of a worker. */
static int64_t encode_known(const struct bpe_vocab *vocab, struct bpe_worker *worker, int32_t *out,
                            const uint8_t *piece, int64_t n, int64_t left) {
    struct bpe_key key = bpe_key(piece, n, left);
    struct slot *slot = &worker->slots[bpe_hash(vocab->seed, key) >> (64 - SLOT_BITS)];
    const uint64_t without_count = ~(uint64_t)0 >> (64 - COUNT_BIT);
    if (slot->key.low == key.low && (slot->key.high & without_count) == key.high) {
        memcpy(out, slot->ids, sizeof slot->ids);
        return (int64_t)(slot->key.high >> COUNT_BIT);
    }
    int64_t count = encode_bytes(vocab, out, piece, n);
    if (count <= SLOT_TOKENS) {
        slot->key = (struct bpe_key){key.low, key.high | (uint64_t)count << COUNT_BIT};
        memcpy(slot->ids, out, sizeof slot->ids);
    }
    return count;
}

/* Encode a longer piece; those of up to WORD bytes are cached in the worker, too. */
static int64_t encode_long(const struct bpe_vocab *vocab, struct bpe_worker *worker, int32_t *out,
                           const uint8_t *piece, int64_t n) {
    if (n > WORD) return encode_bytes(vocab, out, piece, n);
    uint64_t hash = bpe_hash_bytes(vocab->seed, piece, n);
    struct word *word = &worker->words[hash >> (64 - WORD_BITS)];
    if (word->hash == hash && word->n == n && memcmp(word->bytes, piece, (size_t)n) == 0) {
        memcpy(out, word->ids, (size_t)word->count * sizeof *out);
        return word->count;
    }
    int64_t count = encode_bytes(vocab, out, piece, n);
    if (count < 0 || count > WORD_TOKENS) return count;
    word->hash = hash;
    word->n = (int16_t)n;
    word->count = (int16_t)count;
    memcpy(word->bytes, piece, (size_t)n);
    memcpy(word->ids, out, (size_t)count * sizeof *out);
    return count;
}

static int64_t encode_part(const struct bpe_vocab *vocab, struct bpe_worker *worker, int32_t *ids,
                           const struct bpe_text *text, const struct bpe_part *part) {
    int32_t *out = ids;
    for (int64_t at = part->begin; at < part->end;) {
        int64_t pieces = bpe_piece_ends(worker->ends, BPE_ENDS, text->pattern, text->bytes, part->end, at);
        for (int64_t k = 0; k < pieces; at = worker->ends[k++]) {
            const uint8_t *piece = text->bytes + at;
            int64_t n = worker->ends[k] - at;
            int64_t count = n <= BPE_INLINE ? encode_known(vocab, worker, out, piece, n, text->n - at)
                                            : encode_long(vocab, worker, out, piece, n);
            if (count < 0) return -1;
            out += count;
        }
    }
    return out - ids;
}

/* --- workers and parts -------------------------------------------------------------------------------------------- */

struct bpe_encoder *bpe_encoder_new(const struct bpe_vocab *vocab) {
    struct bpe_encoder *encoder = calloc(1, sizeof *encoder);
    if (encoder) encoder->vocab = vocab;
    return encoder;
}

void bpe_encoder_free(struct bpe_encoder *encoder) {
    for (int i = 0; encoder && i < IDLE; i++) free(atomic_exchange(&encoder->idle[i], NULL));
    free(encoder);
}

/* Take an idle worker: if possible the one that this thread of the pool had the last time. */
static struct bpe_worker *take_worker(struct bpe_encoder *encoder, int64_t thread) {
    for (int i = 0; i < IDLE; i++) {
        struct bpe_worker *idle = atomic_exchange(&encoder->idle[(thread + i) % IDLE], NULL);
        if (idle) return idle;
    }
    return calloc(1, sizeof(struct bpe_worker));
}

static void give_worker(struct bpe_encoder *encoder, int64_t thread, struct bpe_worker *worker) {
    for (int i = 0; i < IDLE; i++) {
        struct bpe_worker *none = NULL;
        if (atomic_compare_exchange_strong(&encoder->idle[(thread + i) % IDLE], &none, worker)) return;
    }
    free(worker);
}

static int run_part(const struct bpe_vocab *vocab, struct bpe_worker *worker, const struct bpe_text *text,
                    struct bpe_part *part) {
    part->ids = malloc((size_t)(part->end - part->begin + BPE_SPARE) * sizeof *part->ids);
    if (!part->ids) return -1;
    part->count = encode_part(vocab, worker, part->ids, text, part);
    if (part->count < 0) return -1;
    int32_t *fewer = realloc(part->ids, (size_t)(part->count + 1) * sizeof *fewer);
    if (fewer) part->ids = fewer;
    return 0;
}

struct work {
    struct bpe_encoder *encoder;
    const struct bpe_text *texts;
    struct bpe_part *parts;
};

static int encode_one_part(void *context, int64_t thread, int64_t i) {
    const struct work *work = context;
    struct bpe_part *part = &work->parts[i];
    struct bpe_worker *worker = take_worker(work->encoder, thread);
    if (!worker) return -1;
    int failed = run_part(work->encoder->vocab, worker, &work->texts[part->text], part);
    give_worker(work->encoder, thread, worker);
    return failed;
}

int bpe_encode_parts(struct bpe_encoder *encoder, const struct bpe_text *texts, struct bpe_part *parts, int64_t first,
                     int64_t last) {
    struct work work = {encoder, texts, parts};
    return bpe_each_part(encode_one_part, &work, first, last, INT64_MAX);
}

int64_t bpe_encode_short(struct bpe_encoder *encoder, const struct bpe_text *text, int32_t *ids) {
    const struct bpe_part all = {.end = text->n};
    struct bpe_worker *worker = take_worker(encoder, 0);
    if (!worker) return -1;
    int64_t n = encode_part(encoder->vocab, worker, ids, text, &all);
    give_worker(encoder, 0, worker);
    return n;
}
