/* Define a binary heap of integers, with the smallest on top. */
#ifndef BPE_HEAP_H
#define BPE_HEAP_H

#include "bpe.h"

typedef unsigned __int128 bpe_item; /* compared as a number: the high bits decide first */

struct bpe_heap {
    bpe_item *items;
    int64_t n, room;
};

static inline int heap_push(struct bpe_heap *heap, bpe_item item) {
    bpe_item *items = bpe_grow(heap->items, &heap->room, heap->n + 1, sizeof *items);
    if (!items) return -1;
    heap->items = items;
    int64_t i = heap->n++;
    for (; i > 0 && items[(i - 1) / 2] > item; i = (i - 1) / 2) items[i] = items[(i - 1) / 2];
    items[i] = item;
    return 0;
}

static inline bpe_item heap_pop(struct bpe_heap *heap) {
    bpe_item *items = heap->items, top = items[0], moved = items[--heap->n];
    int64_t i = 0;
    for (int64_t child; (child = 2 * i + 1) < heap->n; i = child) {
        if (child + 1 < heap->n && items[child + 1] < items[child]) child++;
        if (items[child] >= moved) break;
        items[i] = items[child];
    }
    items[i] = moved;
    return top;
}

#endif
