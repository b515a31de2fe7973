/* Merge the tokens of a piece in O(n log n): the pair of smallest rank first, and the leftmost if it occurs twice.
 *
 * The tokens are a linked list. A heap holds the places of pairs that can be merged, by rank and place. A place may be
 * out of date when it leaves the heap, so the pair there is looked up again.
 */
#include "vocab.h"
#include "heap.h"

struct cell { int32_t id, left, right; }; /* a token, and where its neighbours are; -1 if there is none */

struct piece {
    const struct bpe_vocab *vocab;
    struct cell *cells;
    struct bpe_heap heap;
};

static const struct bpe_pair *pair_at(const struct piece *p, int32_t i) {
    return bpe_find_pair(p->vocab, p->cells[i].id, p->cells[p->cells[i].right].id);
}

static int add_pair(struct piece *p, int32_t i) {
    if (i < 0 || p->cells[i].right < 0) return 0;
    int32_t rank = pair_at(p, i)->rank;
    return rank == BPE_NO_RANK ? 0 : heap_push(&p->heap, (uint64_t)rank << 32 | (uint32_t)i);
}

static int merge_all(struct piece *p) {
    struct cell *cells = p->cells;
    while (p->heap.n) {
        uint64_t first = (uint64_t)heap_pop(&p->heap);
        int32_t i = (int32_t)(first & 0x7fffffffu), j = cells[i].right;
        if (cells[i].id == BPE_NO_TOKEN || j < 0) continue;
        const struct bpe_pair *pair = pair_at(p, i);
        if ((uint64_t)pair->rank != first >> 32) continue; /* one of the two was merged with another neighbour */
        int32_t after = cells[j].right;
        cells[i] = (struct cell){pair->made, cells[i].left, after};
        cells[j].id = BPE_NO_TOKEN;
        if (after >= 0) cells[after].left = i;
        if (add_pair(p, cells[i].left) != 0 || add_pair(p, i) != 0) return -1;
    }
    return 0;
}

int64_t bpe_merge_ids(const struct bpe_vocab *vocab, int32_t *ids, int64_t n) {
    if (n < 2 || n > INT32_MAX) return n < 2 ? n : -1;
    struct piece piece = {.vocab = vocab, .cells = malloc((size_t)n * sizeof *piece.cells)};
    int failed = !piece.cells;
    for (int32_t i = 0; !failed && i < n; i++) piece.cells[i] = (struct cell){ids[i], i - 1, i + 1 < n ? i + 1 : -1};
    for (int32_t i = 0; !failed && i < n; i++) failed = add_pair(&piece, i);
    if (!failed) failed = merge_all(&piece);
    int64_t kept = 0;
    for (int32_t i = 0; !failed && i >= 0; i = piece.cells[i].right) ids[kept++] = piece.cells[i].id;
    free(piece.cells);
    free(piece.heap.items);
    return failed ? -1 : kept;
}
