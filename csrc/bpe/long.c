/* Long pieces: a million letters without a space are one piece, too.
 *
 * The tokens stand in a linked list, and the places of the pairs that could be merged in one queue for each rank. The
 * smallest rank whose queue is not empty goes first, from left to right. A merge that was learnt makes pairs of larger
 * ranks only, and makes them from left to right; so queues are filled in order and each is emptied in one go.
 *
 * A vocabulary from a file may do otherwise: then a smaller rank interrupts, for it is on top of the heap of ranks, and a
 * place to the left of the last one in its queue is pending in a second heap, of ranks and places. Both heaps always
 * give the smallest rank, and of that the leftmost place. A place may be out of date when its turn comes, so the pair
 * that stands there is looked up again.
 *
 * The ladder: one heap of all places is simpler and as good in theory, O(n log n), but jumps all over memory; on a piece
 * of a million letters the queues take an eighth of its time.
 */
#include "vocab.h"
#include "tinyllm.h"

enum {
    CHUNK = 15, /* places, and the link: one line of the cache */
    FAR = 10, CLOSE = 5, /* places ahead that are fetched: cells, and their neighbours */
    MOST_KEPT = 1 << 18, /* chunks */
};

struct chunk { int32_t next, places[CHUNK]; };

struct queue {
    int32_t head, tail;  /* chunks; the queue is empty where from == to and head == tail */
    int32_t last;        /* the place that was added last */
    uint16_t from, to;   /* the first place in the head, behind the last one in the tail */
};

struct cell { int32_t id, left, right; }; /* a token, and where its neighbours are; -1 behind either end */

struct piece {
    const struct bpe_vocab *vocab;
    struct cell *cells;
};

void bpe_queues_free(struct bpe_queues *q) {
    free(q->queues);
    free(q->chunks);
    free(q->ready.items);
    free(q->pending.items);
}

static int set_up(struct bpe_queues *q, int64_t n_ranks) {
    if (q->queues) return 0;
    q->spare = -1;
    q->queues = malloc((size_t)(n_ranks + 1) * sizeof *q->queues);
    for (int64_t i = 0; q->queues && i < n_ranks; i++) q->queues[i] = (struct queue){.head = -1};
    return q->queues ? 0 : -1;
}

/* --- queues ------------------------------------------------------------------------------------------------------------- */

static int32_t take_chunk(struct bpe_queues *q) {
    int32_t chunk = q->spare;
    if (chunk >= 0) {
        q->spare = q->chunks[chunk].next;
        return chunk;
    }
    struct chunk *chunks = bpe_grow(q->chunks, &q->chunk_room, q->n_chunks + 1, sizeof *chunks);
    if (!chunks || q->n_chunks == INT32_MAX) return -1;
    q->chunks = chunks;
    return (int32_t)q->n_chunks++;
}

static int add_place(struct bpe_queues *q, int32_t rank, int32_t place) {
    struct queue *queue = &q->queues[rank];
    if (queue->head >= 0 && place < queue->last)
        return heap_push(&q->pending, (uint64_t)rank << 32 | (uint32_t)place);
    if (queue->head < 0 || queue->to == CHUNK) {
        int32_t chunk = take_chunk(q);
        if (chunk < 0) return -1;
        if (queue->head < 0) {
            if (heap_push(&q->ready, (uint64_t)rank) != 0) return -1;
            queue->head = chunk;
            queue->from = 0;
        } else {
            q->chunks[queue->tail].next = chunk;
        }
        queue->tail = chunk;
        queue->to = 0;
    }
    q->chunks[queue->tail].places[queue->to++] = place;
    queue->last = place;
    return 0;
}

/* Drop the first place of the queue whose rank is on top of the heap. */
static void drop_first_place(struct bpe_queues *q) {
    struct queue *queue = &q->queues[q->ready.items[0]];
    int32_t head = queue->head;
    queue->from++;
    if (head == queue->tail ? queue->from < queue->to : queue->from < CHUNK) return;
    queue->head = head == queue->tail ? -1 : q->chunks[head].next;
    queue->from = 0;
    q->chunks[head].next = q->spare;
    q->spare = head;
    if (queue->head < 0) heap_pop(&q->ready);
}

/* Take the smallest rank and of that the leftmost place, as one number; all ones when there is none. */
static uint64_t take_first(struct bpe_queues *q) {
    uint64_t first = ~(uint64_t)0;
    if (q->ready.n) {
        const struct queue *queue = &q->queues[q->ready.items[0]];
        first = (uint64_t)q->ready.items[0] << 32 | (uint32_t)q->chunks[queue->head].places[queue->from];
    }
    if (q->pending.n && q->pending.items[0] < first) {
        first = (uint64_t)heap_pop(&q->pending);
    } else if (q->ready.n) {
        drop_first_place(q);
    }
    return first;
}

/* --- merging ------------------------------------------------------------------------------------------------------------ */

static const struct bpe_pair *pair_at(const struct piece *p, int32_t i) {
    return bpe_find_pair(p->vocab, p->cells[i].id, p->cells[p->cells[i].right].id);
}

static int add_pair(const struct piece *p, struct bpe_queues *q, int32_t i) {
    if (i < 0 || p->cells[i].right < 0) return 0;
    int32_t rank = pair_at(p, i)->rank;
    return rank == BPE_NO_RANK ? 0 : add_place(q, rank, i);
}

/* The place that comes up `ahead` places later in the queue on top, or -1. */
static int32_t place_ahead(const struct bpe_queues *q, const struct queue *queue, int ahead) {
    const struct chunk *chunk = &q->chunks[queue->head];
    int at = queue->from + ahead, last = queue->head == queue->tail;
    if (at >= CHUNK && !last) {
        last = chunk->next == queue->tail;
        chunk = &q->chunks[chunk->next];
        at -= CHUNK;
    }
    return at < (last ? queue->to : CHUNK) ? chunk->places[at] : -1;
}

/* Have at hand what comes up soon: first a cell, then, when it is there, its neighbours. */
static void fetch_ahead(const struct piece *p, const struct bpe_queues *q, int32_t *rank) {
    if (!q->ready.n) return;
    int32_t top = (int32_t)q->ready.items[0];
    const struct queue *queue = &q->queues[top];
    for (int ahead = top == *rank ? FAR : 1; ahead <= FAR; ahead++) {
        int32_t far = place_ahead(q, queue, ahead);
        if (far < 0) break;
        __builtin_prefetch(&p->cells[far]);
    }
    *rank = top;
    int32_t close = place_ahead(q, queue, CLOSE);
    if (close < 0 || p->cells[close].right < 0) return;
    __builtin_prefetch(&p->cells[p->cells[close].right]);
    if (p->cells[close].left >= 0) __builtin_prefetch(&p->cells[p->cells[close].left]);
}

static int merge_all(const struct piece *p, struct bpe_queues *q) {
    struct cell *cells = p->cells;
    int32_t rank = -1; /* whose places are being fetched */
    for (uint64_t first; (first = take_first(q)) != ~(uint64_t)0;) {
        fetch_ahead(p, q, &rank);
        int32_t i = (int32_t)(first & 0x7fffffffu), j = cells[i].right;
        if (cells[i].id < 0 || j < 0) continue;
        const struct bpe_pair *pair = pair_at(p, i);
        if ((uint64_t)pair->rank != first >> 32) continue; /* one of the two was merged with another neighbour */
        int32_t after = cells[j].right;
        cells[i] = (struct cell){pair->made, cells[i].left, after};
        cells[j].id = -1;
        if (after >= 0) cells[after].left = i;
        if (add_pair(p, q, cells[i].left) != 0 || add_pair(p, q, i) != 0) return -1;
    }
    return 0;
}

static int link_all(const struct piece *p, struct bpe_queues *q, const int32_t *ids, int32_t n) {
    for (int32_t i = 0; i < n; i++) p->cells[i] = (struct cell){ids[i], i - 1, i + 1 < n ? i + 1 : -1};
    for (int32_t i = 0; i < n; i++)
        if (add_pair(p, q, i) != 0) return -1;
    return 0;
}

/* Put the queues back to empty after memory ran out in the middle. */
static void empty_queues(struct bpe_queues *q) {
    while (take_first(q) != ~(uint64_t)0) continue;
}

/* Keep no more memory between pieces than one of a million bytes needs. */
static void shrink(struct bpe_queues *q) {
    q->spare = -1; /* all chunks are free: hand them out from the first again */
    q->n_chunks = 0;
    if (q->chunk_room <= MOST_KEPT) return;
    free(q->chunks);
    q->chunks = NULL;
    q->chunk_room = 0;
}

int64_t bpe_merge_long(const struct bpe_vocab *vocab, struct bpe_queues *queues, int32_t *ids, int64_t n) {
    if (n > INT32_MAX || set_up(queues, vocab->n_ranks) != 0) return -1;
    struct piece piece = {vocab, pool_take((size_t)n * sizeof(struct cell))};
    int failed = !piece.cells || link_all(&piece, queues, ids, (int32_t)n) != 0 || merge_all(&piece, queues) != 0;
    if (failed) empty_queues(queues);
    int64_t kept = 0;
    for (int32_t i = 0; !failed && i >= 0; i = piece.cells[i].right) ids[kept++] = piece.cells[i].id;
    pool_give(piece.cells);
    shrink(queues);
    return failed ? -1 : kept;
}
