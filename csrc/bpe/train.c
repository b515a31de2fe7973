/* Train: merge the most frequent pair again and again, and look only at what the last merge changed.
 *
 * The specification counts all pairs again for every merge. Here every distinct piece is written once into one long
 * array of cells, one for each byte, and each pair has its count and a list of its places:
 *   - a token is written into the first and the last cell that it covers, so its neighbours are found without links:
 *     the next token begins `length` cells later, and the cell before its first one names the token before;
 *   - a merge makes only pairs with the new token, so all places of a pair are found during one merge, in ascending
 *     order, and its list never grows. A place may be out of date when the list is used, and then stays so, because
 *     later merges make only later tokens;
 *   - a count in the heap may be too large, but never too small, because the count of a pair only falls. So the top of
 *     the heap is the best pair if its count is still right. Of equal counts the smallest pair is on top, so that no
 *     two candidates are equal;
 *   - changes of counts are first added up for each neighbouring token, and then applied once.
 * Each merge of two tokens makes at most two places, and n tokens are merged at most n - 1 times: O(n log n) in all.
 */
#include "bpe.h"
#include "heap.h"
#include "pairs.h"
#include "tinyllm.h"

enum {
    BYTES = 256,
    DEAD = -2,  /* the cell where the right token of a merge began */
    AHEAD = 16, /* how many places ahead cells are prefetched */
};

struct side { /* a token as the left, or right, neighbour of the new token */
    int64_t count, places; /* how often that occurs in the text, and at how many places in `cells` */
    int64_t pair;          /* the index of the pair that the two make */
};

struct position { int32_t at, token; }; /* a place of a new pair; token: its left neighbour, or ~ its right one */

struct bpe_trainer {
    int64_t n;
    struct bpe_cell *cells; /* cell 0 is a gap, too */
    struct pair_table pairs;
    struct bpe_heap heap; /* of candidates */
    int32_t *places; /* of all pairs, one list after the other */
    int64_t n_places, places_room;
    int32_t *lengths; /* of each token, in bytes */
    struct side *before, *after; /* by token; all zero between merges */
    int32_t *touched; /* nonzero entries: token for `before`, ~token for `after` */
    int64_t n_touched;
    struct position *made; /* the places of new pairs, in the order of the text */
    int64_t made_room;
    int32_t *merged; /* left, right, left, right ... */
    int64_t merges, most;
};

/* Write a pair and its count as one number, which is smaller for a larger count, then for a smaller pair. */
static bpe_item candidate(int64_t count, uint64_t key) { return (bpe_item)~(uint64_t)count << 64 | key; }

/* --- the start: pairs of bytes ------------------------------------------------------------------------------------ */

static int reserve_places(struct bpe_trainer *t, int64_t more) {
    int32_t *places = bpe_grow(t->places, &t->places_room, t->n_places + more, sizeof *places);
    if (!places) return -1;
    t->places = places;
    return 0;
}

static int is_pair(const struct bpe_trainer *t, int64_t i) {
    return t->cells[i].id >= 0 && t->cells[i + 1].id >= 0;
}

static int32_t dense_key(const struct bpe_trainer *t, int64_t i) {
    return t->cells[i].id * BYTES + t->cells[i + 1].id;
}

/* Count all pairs of bytes in a dense table, give each that occurs its entry and list, and fill the lists. */
static int index_pairs(struct bpe_trainer *t, struct pair *dense) {
    for (int64_t i = 0; i + 1 < t->n; i++) {
        if (!is_pair(t, i)) continue;
        struct pair *pair = &dense[dense_key(t, i)];
        pair->count += t->cells[i].weight;
        pair->places++;
    }
    if (reserve_places(t, t->n) != 0) return -1;
    for (int32_t k = 0; k < BYTES * BYTES; k++) {
        if (!dense[k].places) continue;
        if (pair_reserve(&t->pairs, 1) != 0) return -1;
        uint64_t key = bpe_pair_key(k / BYTES, k % BYTES);
        struct pair *pair = &t->pairs.entries[pair_add(&t->pairs, key)];
        *pair = (struct pair){key, dense[k].count, t->n_places, dense[k].places};
        if (heap_push(&t->heap, candidate(pair->count, key)) != 0) return -1;
        dense[k].first = t->n_places;
        t->n_places += pair->places;
    }
    for (int64_t i = 0; i + 1 < t->n; i++)
        if (is_pair(t, i)) t->places[dense[dense_key(t, i)].first++] = (int32_t)i;
    return 0;
}

static int set_up(struct bpe_trainer *t, const struct bpe_counter *counter) {
    size_t tokens = (size_t)(BYTES + t->most);
    t->cells = pool_take((size_t)t->n * sizeof *t->cells);
    t->lengths = malloc(tokens * sizeof *t->lengths);
    t->before = calloc(tokens, sizeof *t->before);
    t->after = calloc(tokens, sizeof *t->after);
    t->touched = malloc(2 * tokens * sizeof *t->touched);
    t->merged = malloc((2 * (size_t)t->most + 1) * sizeof *t->merged);
    if (!t->cells || !t->lengths || !t->before || !t->after || !t->touched || !t->merged) return -1;
    for (int i = 0; i < BYTES; i++) t->lengths[i] = 1;
    t->cells[0] = (struct bpe_cell){BPE_GAP, 0};
    bpe_counter_lay(t->cells + 1, counter);
    if (pair_table_new(&t->pairs) != 0) return -1;
    struct pair *dense = calloc((size_t)BYTES * BYTES, sizeof *dense);
    int failed = !dense || index_pairs(t, dense) != 0;
    free(dense);
    return failed ? -1 : 0;
}

struct bpe_trainer *bpe_trainer_new(const struct bpe_counter *counter, int64_t most_merges) {
    int64_t n = bpe_counter_cells(counter) + 1;
    if (n > INT32_MAX) return NULL;
    struct bpe_trainer *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->n = n;
    t->most = most_merges < 0 ? 0 : most_merges < n ? most_merges : n; /* each merge removes a token */
    if (set_up(t, counter) == 0) return t;
    bpe_trainer_free(t);
    return NULL;
}

void bpe_trainer_free(struct bpe_trainer *t) {
    if (!t) return;
    free(t->pairs.entries);
    pool_give(t->cells);
    void *blocks[] = {t->heap.items, t->places, t->made, t->lengths, t->before, t->after, t->touched, t->merged};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
    free(t);
}

/* --- one merge ---------------------------------------------------------------------------------------------------- */

static void add_neighbour(struct bpe_trainer *t, struct side *side, int32_t token, int32_t named, int64_t weight) {
    if (!side[token].places++) t->touched[t->n_touched++] = named;
    side[token].count += weight;
}

/* Merge a pair at every place of its list; return the number of places of new pairs, or -1. */
static int64_t merge_places(struct bpe_trainer *t, const struct pair *pair, int32_t made) {
    const int32_t first = (int32_t)(pair->key >> 32), second = (int32_t)(pair->key & 0xffffffffu);
    const int32_t *places = t->places + pair->first, to_second = t->lengths[first], width = t->lengths[made];
    struct bpe_cell *cells = t->cells;
    int64_t n_made = 0;
    for (int64_t k = 0; k < pair->places; k++) {
        if (k + AHEAD < pair->places) __builtin_prefetch(&cells[places[k + AHEAD]]);
        int32_t i = places[k], j = i + to_second, end = i + width;
        if (cells[i].id != first || cells[j].id != second) continue;
        struct position *room = bpe_grow(t->made, &t->made_room, n_made + 2, sizeof *room);
        if (!room) return -1;
        t->made = room;
        cells[i].id = made;
        cells[j].id = DEAD;
        cells[end - 1].id = made;
        int32_t before = cells[i - 1].id, after = cells[end].id, weight = cells[i].weight;
        if (before >= 0) {
            add_neighbour(t, t->before, before, before, weight);
            t->made[n_made++] = (struct position){i - t->lengths[before], before};
        }
        if (after >= 0) {
            add_neighbour(t, t->after, after, ~after, weight);
            t->made[n_made++] = (struct position){i, ~after};
        }
    }
    return n_made;
}

static struct side *side_of(struct bpe_trainer *t, int32_t named) {
    return named >= 0 ? &t->before[named] : &t->after[~named];
}

/* Return the key of the pair of a neighbour and a token. */
static uint64_t key_with(int32_t named, int32_t token) {
    return named >= 0 ? bpe_pair_key(named, token) : bpe_pair_key(token, ~named);
}

/* Give each new pair an entry, its count and room for its list; subtract what the old pairs lost. */
static int update_counts(struct bpe_trainer *t, uint64_t merged, int32_t made) {
    const int32_t first = (int32_t)(merged >> 32), second = (int32_t)(merged & 0xffffffffu);
    if (pair_reserve(&t->pairs, t->n_touched) != 0) return -1;
    for (int64_t k = 0; k < t->n_touched; k++) {
        struct side *side = side_of(t, t->touched[k]);
        uint64_t key = key_with(t->touched[k], made);
        side->pair = pair_add(&t->pairs, key);
        t->pairs.entries[side->pair] = (struct pair){key, side->count, t->n_places, side->places};
        t->n_places += side->places;
    }
    for (int64_t k = 0; k < t->n_touched; k++) {
        int32_t named = t->touched[k];
        struct pair *lost = pair_find(&t->pairs, key_with(named, named >= 0 ? first : second));
        if (lost) lost->count -= side_of(t, named)->count;
    }
    struct pair *gone = pair_find(&t->pairs, merged);
    if (gone) gone->count = 0;
    return 0;
}

static int merge_pair(struct bpe_trainer *t, uint64_t key) {
    const struct pair pair = *pair_find(&t->pairs, key);
    int32_t made = (int32_t)(BYTES + t->merges);
    t->lengths[made] = t->lengths[key >> 32] + t->lengths[key & 0xffffffffu];
    t->n_touched = 0;
    int64_t n_made = merge_places(t, &pair, made);
    if (n_made < 0 || reserve_places(t, n_made) != 0 || update_counts(t, key, made) != 0) return -1;
    for (int64_t k = 0; k < n_made; k++) {
        struct pair *of = &t->pairs.entries[side_of(t, t->made[k].token)->pair];
        t->places[of->first++] = t->made[k].at;
    }
    for (int64_t k = 0; k < t->n_touched; k++) {
        struct side *side = side_of(t, t->touched[k]);
        struct pair *new = &t->pairs.entries[side->pair];
        new->first -= new->places;
        if (new->count && heap_push(&t->heap, candidate(new->count, new->key)) != 0) return -1;
        *side = (struct side){0};
    }
    t->merged[2 * t->merges] = (int32_t)(key >> 32);
    t->merged[2 * t->merges++ + 1] = (int32_t)(key & 0xffffffffu);
    return 0;
}

int64_t bpe_trainer_run(struct bpe_trainer *t, int64_t merges) {
    if (merges > t->most) merges = t->most;
    while (t->heap.n && t->merges < merges) {
        bpe_item top = heap_pop(&t->heap);
        uint64_t key = (uint64_t)top;
        int64_t count = (int64_t)~(uint64_t)(top >> 64);
        const struct pair *pair = pair_find(&t->pairs, key);
        int failed = pair->count == count ? merge_pair(t, key)
                     : pair->count > 0    ? heap_push(&t->heap, candidate(pair->count, key)) : 0;
        if (failed) return -1;
    }
    return t->merges;
}

const int32_t *bpe_trainer_pairs(const struct bpe_trainer *t) { return t->merged; }
