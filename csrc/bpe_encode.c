/* Encoding: the pair of smallest rank is merged, of equal ones the leftmost, until no pair is known.
 *
 * The spec looks at the whole piece again for every merge. Here a merge looks up only the two pairs it makes:
 *   - a short piece keeps the rank of each of its pairs in an array and scans that for the smallest;
 *   - a long one keeps queues of places, see bpe_long.c: O(n log n) whatever the piece.
 * Text repeats its words, so most pieces are never merged at all: each worker remembers the tokens of pieces of up to
 * 15 bytes and four tokens, one piece a slot, a piece as one 16-byte key. What is found there costs a hash, a compare
 * and a copy of four tokens, of which too many may be written and then overwritten.
 */
#include "bpe.h"
#include "bpe_vocabulary.h"
#include "tinyllm.h"

#include <stdatomic.h>
#include <stdlib.h>

enum {
    SHORT = 48,      /* bytes; measured: the heap is faster from about there on */
    SLOT_BITS = 15,  /* 2^15 slots of 32 bytes: 1 MB, which a core's second cache holds */
    SLOT_TOKENS = 4,
    MOST_KEPT = 1 << 20, /* tokens that a worker has room for between two calls */
    SPARE = SLOT_TOKENS, /* tokens that may be written behind the result */
};

struct slot {
    struct bpe_key key; /* the bits 60 to 63 of `high` hold how many tokens there are */
    int32_t ids[SLOT_TOKENS];
};

struct bpe_worker { /* what one thread needs while it encodes; kept for the next time */
    struct slot *slots;
    int32_t *out; /* the tokens of one part */
    int64_t room;
    struct bpe_queues queues;
    struct bpe_ends ends;
};

/* --- short pieces ----------------------------------------------------------------------------------------------------- */

static int64_t merge_short(const struct bpe *bpe, int32_t *ids, int64_t n) {
    int32_t rank[SHORT]; /* of the pair that starts here */
    for (int64_t i = 0; i + 1 < n; i++) rank[i] = bpe_find_pair(bpe, ids[i], ids[i + 1])->rank;
    while (n > 1) {
        int64_t at = 0;
        for (int64_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[at]) at = i;
        if (rank[at] == BPE_NO_RANK) break;
        ids[at] = bpe_find_pair(bpe, ids[at], ids[at + 1])->made;
        n--;
        for (int64_t i = at + 1; i < n; i++) {
            ids[i] = ids[i + 1];
            rank[i - 1] = rank[i];
        }
        if (at > 0) rank[at - 1] = bpe_find_pair(bpe, ids[at - 1], ids[at])->rank;
        if (at + 1 < n) rank[at] = bpe_find_pair(bpe, ids[at], ids[at + 1])->rank;
    }
    return n;
}

static int64_t merge(const struct bpe *bpe, struct bpe_worker *worker, int32_t *ids, int64_t n) {
    return n <= SHORT ? merge_short(bpe, ids, n) : bpe_merge_long(bpe, &worker->queues, ids, n);
}

/* --- parts of a text --------------------------------------------------------------------------------------------------- */

static int64_t encode_piece(const struct bpe *bpe, struct bpe_worker *worker, int32_t *out, const uint8_t *piece,
                            int64_t n) {
    int32_t whole = bpe_find_whole(bpe, piece, n);
    if (whole >= 0) {
        out[0] = whole;
        return 1;
    }
    for (int64_t i = 0; i < n; i++) out[i] = bpe->byte_ids[piece[i]];
    return merge(bpe, worker, out, n);
}

/* Encode one piece of at most BPE_INLINE bytes through the memory of a worker. */
static int64_t encode_known(const struct bpe *bpe, struct bpe_worker *worker, int32_t *out, const uint8_t *piece,
                            int64_t n, int64_t left) {
    struct bpe_key key = bpe_key(piece, n, left);
    struct slot *slot = &worker->slots[bpe_hash(bpe->seed, key) >> (64 - SLOT_BITS)];
    const uint64_t without_count = ~(uint64_t)0 >> 4;
    if (slot->key.low == key.low && (slot->key.high & without_count) == key.high) {
        memcpy(out, slot->ids, sizeof slot->ids);
        return (int64_t)(slot->key.high >> 60);
    }
    int64_t count = encode_piece(bpe, worker, out, piece, n);
    if (count <= SLOT_TOKENS) {
        slot->key = (struct bpe_key){key.low, key.high | (uint64_t)count << 60};
        memcpy(slot->ids, out, sizeof slot->ids);
    }
    return count;
}

static int64_t encode_part(struct bpe *bpe, struct bpe_worker *worker, const struct bpe_text *text,
                           const struct bpe_part *part) {
    struct bpe_ends *some = &worker->ends;
    int32_t *out = worker->out;
    bpe_first_ends(some, text, part);
    while (bpe_more_ends(some, text)) {
        int64_t at = some->at;
        for (int64_t k = 0; k < some->n; at = some->ends[k++]) {
            const uint8_t *piece = text->bytes + at;
            int64_t n = some->ends[k] - at;
            int64_t count = n <= BPE_INLINE ? encode_known(bpe, worker, out, piece, n, text->n - at)
                                            : encode_piece(bpe, worker, out, piece, n);
            if (count < 0) return -1;
            out += count;
        }
    }
    return out - worker->out;
}

/* --- workers and parts ------------------------------------------------------------------------------------------------- */

static void worker_free(struct bpe_worker *worker) {
    if (!worker) return;
    free(worker->slots);
    free(worker->out);
    bpe_queues_free(&worker->queues);
    free(worker);
}

void bpe_workers_free(struct bpe *bpe) {
    for (int i = 0; i < BPE_IDLE; i++) worker_free(atomic_exchange(&bpe->idle[i], NULL));
}

static struct bpe_worker *take_worker(struct bpe *bpe) {
    for (int i = 0; i < BPE_IDLE; i++) {
        struct bpe_worker *idle = atomic_exchange(&bpe->idle[i], NULL);
        if (idle) return idle;
    }
    struct bpe_worker *fresh = calloc(1, sizeof *fresh);
    if (fresh) fresh->slots = calloc((size_t)1 << SLOT_BITS, sizeof *fresh->slots);
    if (fresh && fresh->slots) return fresh;
    worker_free(fresh);
    return NULL;
}

static void give_worker(struct bpe *bpe, struct bpe_worker *worker) {
    if (worker->room > MOST_KEPT) {
        free(worker->out);
        worker->out = NULL;
        worker->room = 0;
    }
    for (int i = 0; i < BPE_IDLE; i++) {
        struct bpe_worker *none = NULL;
        if (atomic_compare_exchange_strong(&bpe->idle[i], &none, worker)) return;
    }
    worker_free(worker);
}

static int make_room(struct bpe_worker *worker, int64_t tokens) {
    if (worker->room >= tokens) return 0;
    if (tokens > INT64_MAX / 8) return -1;
    free(worker->out);
    worker->out = malloc((size_t)tokens * sizeof *worker->out);
    worker->room = worker->out ? tokens : 0;
    return worker->out ? 0 : -1;
}

static int64_t part_bytes(const struct bpe_text *text, const struct bpe_part *part) {
    if (!text->ends) return part->end - part->begin;
    return text->ends[part->end - 1] - (part->begin ? text->ends[part->begin - 1] : 0);
}

static int run_part(struct bpe *bpe, struct bpe_worker *worker, const struct bpe_text *text, struct bpe_part *part) {
    if (make_room(worker, part_bytes(text, part) + SPARE) != 0) return -1;
    part->count = encode_part(bpe, worker, text, part);
    if (part->count < 0) return -1;
    part->ids = malloc((size_t)(part->count ? part->count : 1) * sizeof *part->ids);
    if (!part->ids) return -1;
    memcpy(part->ids, worker->out, (size_t)part->count * sizeof *part->ids);
    return 0;
}

struct work {
    struct bpe *bpe;
    const struct bpe_text *texts;
    struct bpe_part *parts;
    int64_t last;
    atomic_llong next;
    atomic_int failed;
};

static void encode_some(void *context, int64_t begin, int64_t end) {
    struct work *work = context;
    (void)begin, (void)end; /* parts take unequal time, so each thread fetches the next */
    struct bpe_worker *worker = take_worker(work->bpe);
    if (!worker) atomic_store(&work->failed, 1);
    while (worker && !atomic_load(&work->failed)) {
        int64_t i = atomic_fetch_add(&work->next, 1);
        if (i >= work->last) break;
        struct bpe_part *part = &work->parts[i];
        if (run_part(work->bpe, worker, &work->texts[part->text], part) != 0) atomic_store(&work->failed, 1);
    }
    if (worker) give_worker(work->bpe, worker);
}

int64_t bpe_encode_ids(struct bpe *bpe, int32_t *ids, int64_t n) {
    struct bpe_worker *worker = take_worker(bpe);
    if (!worker) return -1;
    n = merge(bpe, worker, ids, n);
    give_worker(bpe, worker);
    return n;
}

int bpe_encode_parts(struct bpe *bpe, const struct bpe_text *texts, struct bpe_part *parts, int64_t first,
                     int64_t last) {
    struct work work = {.bpe = bpe, .texts = texts, .parts = parts, .last = last, .next = first};
    int64_t threads = parallel_size();
    parallel_for(encode_some, &work, threads < last - first ? threads : last - first, 1);
    return atomic_load(&work.failed) ? -1 : 0;
}
