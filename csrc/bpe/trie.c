/* A double array (Aoe 1989): all tokens as paths of bytes, so that one walk finds the longest that a text begins with.
 *
 * The child of a node for the byte c stands in the slot base ^ c, if the label there is c. All children of a node are
 * in one block of 256 slots, among those of other nodes, each of which has a base of its own. Nearly every slot is in
 * use.
 */
#include "vocab.h"

enum {
    BLOCK = 256, WINDOW = 2 * BLOCK, /* only the last slots are searched for free ones */
    FREE = 256, CLOSED = 257, /* labels that no byte has; nodes without children point to the first, closed block */
};

struct string {
    const uint8_t *bytes;
    int64_t n;
    int32_t id;
};

struct range { /* of tokens in the order of their bytes, which have the first `depth` in common */
    int64_t first, last, depth;
    int64_t slot;    /* of their node */
    int32_t shorter; /* the longest token on the way there */
};

struct builder {
    struct bpe_vocab *vocab;
    const struct string *tokens;
    int64_t n_slots, room; /* the last block is always free */
    int64_t first_free;
    struct range *todo;
    int64_t n_todo, todo_room;
};

static int compare(const void *a, const void *b) {
    const struct string *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, (size_t)(x->n < y->n ? x->n : y->n));
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static int add_block(struct builder *b, unsigned label) {
    if (b->n_slots == BPE_MOST_NODES) return -1;
    struct bpe_node *trie = bpe_grow(b->vocab->trie, &b->room, b->n_slots + BLOCK, sizeof *trie);
    if (!trie) return -1;
    b->vocab->trie = trie;
    for (int i = 0; i < BLOCK; i++) trie[b->n_slots++] = (struct bpe_node){.label = label, .token = BPE_NO_TOKEN};
    return 0;
}

/* A base of no other node for which the slots of all these labels are free. */
static int64_t find_base(struct builder *b, const uint8_t *labels, int n) {
    const struct bpe_node *trie = b->vocab->trie;
    if (b->first_free < b->n_slots - WINDOW) b->first_free = b->n_slots - WINDOW;
    while (trie[b->first_free].label != FREE) b->first_free++;
    for (int64_t slot = b->first_free;; slot++) {
        int64_t base = slot ^ labels[0];
        int fits = 0;
        while (fits < n && !trie[base].is_base && trie[base ^ labels[fits]].label == FREE) fits++;
        if (fits == n) return base;
    }
}

static int add_node(struct builder *b, struct range r) {
    uint8_t labels[BLOCK];
    int64_t starts[BLOCK + 1];
    int n = 0;
    const struct string *first = &b->tokens[r.first];
    if (first->n == r.depth) {
        b->vocab->trie[r.slot].token = first->id;
        b->vocab->tokens[first->id + 256].shorter = r.shorter;
        r.shorter = first->id;
        r.first++;
    }
    for (int64_t i = r.first; i < r.last; i++) {
        uint8_t label = b->tokens[i].bytes[r.depth];
        if (n && labels[n - 1] == label) continue;
        labels[n] = label;
        starts[n++] = i;
    }
    if (n == 0) return 0;
    starts[n] = r.last;
    struct range *todo = bpe_grow(b->todo, &b->todo_room, b->n_todo + n, sizeof *todo);
    if (!todo) return -1;
    b->todo = todo;
    int64_t base = find_base(b, labels, n);
    b->vocab->trie[base].is_base = 1;
    b->vocab->trie[r.slot].base = (uint32_t)base & (BPE_MOST_NODES - 1);
    for (int i = n; i-- > 0;) {
        b->vocab->trie[base ^ labels[i]].label = labels[i];
        todo[b->n_todo++] = (struct range){starts[i], starts[i + 1], r.depth + 1, base ^ labels[i], r.shorter};
    }
    return base < b->n_slots - BLOCK ? 0 : add_block(b, FREE);
}

static int build(struct bpe_vocab *vocab, const struct string *tokens, int64_t n) {
    struct builder b = {.vocab = vocab, .tokens = tokens};
    struct range all = {.last = n, .shorter = BPE_NO_TOKEN};
    int failed = add_block(&b, CLOSED) != 0 || add_block(&b, FREE) != 0 || add_node(&b, all) != 0;
    while (!failed && b.n_todo) failed = add_node(&b, b.todo[--b.n_todo]);
    free(b.todo);
    return failed;
}

void bpe_add_trie(struct bpe_vocab *vocab, const uint8_t *bytes, const int64_t *offsets, const int32_t *numbers,
                  int64_t n, int64_t known) {
    uint8_t single[256];
    struct string *tokens = malloc((size_t)(n + 256) * sizeof *tokens);
    int64_t count = 0;
    if (!tokens) return;
    for (int i = 0; i < 256; i++) {
        single[i] = (uint8_t)i;
        tokens[count++] = (struct string){&single[i], 1, vocab->byte_ids[i]};
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t length = offsets[i + 1] - offsets[i];
        if (length > 1 && vocab->tokens[numbers[i] + 256].length == length)
            tokens[count++] = (struct string){bytes + offsets[i], length, numbers[i]};
    }
    qsort(tokens, (size_t)count, sizeof *tokens, compare);
    if (count != known + 256 || build(vocab, tokens, count) != 0) {
        free(vocab->trie);
        vocab->trie = NULL;
    }
    free(tokens);
}
