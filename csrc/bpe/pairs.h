/* Define a hash table of pairs of tokens, for training. It uses open addressing, and grows so that half stays empty. */
#ifndef BPE_PAIRS_H
#define BPE_PAIRS_H

#include "bpe.h"

struct pair {
    uint64_t key;          /* bpe_pair_key */
    int64_t count;
    int64_t first, places; /* the start and length of its list of places; places is -1 in an empty entry */
};

struct pair_table {
    struct pair *entries;
    int64_t used;
    int shift; /* there are 2^(64 - shift) entries */
    uint64_t factor;
};

static inline struct pair *empty_entries(int bits) {
    size_t n = (size_t)1 << bits;
    struct pair *entries = malloc(n * sizeof *entries);
    for (size_t i = 0; entries && i < n; i++) entries[i] = (struct pair){.places = -1};
    return entries;
}

static inline int pair_table_new(struct pair_table *table) {
    *table = (struct pair_table){.entries = empty_entries(10), .shift = 54};
    table->factor = bpe_seed(table).first;
    return table->entries ? 0 : -1;
}

/* Return the index of a pair, or of the empty entry where it would be. */
static inline uint64_t slot_of(const struct pair *entries, int shift, uint64_t factor, uint64_t key) {
    uint64_t mask = ~(uint64_t)0 >> shift, i = (key * factor) >> shift;
    while (entries[i].places >= 0 && entries[i].key != key) i = (i + 1) & mask;
    return i;
}

/* Make room for `more` new pairs, which may move the entries. Return -1 if there is no memory. */
static inline int pair_reserve(struct pair_table *table, int64_t more) {
    int shift = table->shift;
    while (2 * (table->used + more) > (int64_t)1 << (64 - shift)) shift--;
    if (shift == table->shift) return 0;
    struct pair *entries = empty_entries(64 - shift);
    if (!entries) return -1;
    for (int64_t i = 0; i < (int64_t)1 << (64 - table->shift); i++)
        if (table->entries[i].places >= 0)
            entries[slot_of(entries, shift, table->factor, table->entries[i].key)] = table->entries[i];
    free(table->entries);
    table->entries = entries;
    table->shift = shift;
    return 0;
}

/* Return the index of a pair's entry; a new pair gets an entry with count and places 0. */
static inline int64_t pair_add(struct pair_table *table, uint64_t key) {
    uint64_t i = slot_of(table->entries, table->shift, table->factor, key);
    if (table->entries[i].places < 0) {
        table->entries[i] = (struct pair){.key = key};
        table->used++;
    }
    return (int64_t)i;
}

static inline struct pair *pair_find(const struct pair_table *table, uint64_t key) { /* or NULL */
    struct pair *found = &table->entries[slot_of(table->entries, table->shift, table->factor, key)];
    return found->places >= 0 ? found : NULL;
}

#endif
