/* Declare a growing hash table of pairs of tokens, for training. */
#ifndef BPE_PAIRS_H
#define BPE_PAIRS_H

#include <stdint.h>

struct pair {
    uint64_t key;          /* bpe_pair_key */
    int64_t count;
    int64_t first, places; /* a list of places; places is -1 where the entry is empty */
};

struct pair_table {
    struct pair *entries;
    int64_t used;
    int shift; /* there are 2^(64 - shift) entries */
    uint64_t factor;
};

int pair_table_new(struct pair_table *table);
void pair_table_free(struct pair_table *table);
int pair_reserve(struct pair_table *table, int64_t more); /* room for so many new pairs; moves the entries */
int64_t pair_add(struct pair_table *table, uint64_t key); /* the index of its entry, a fresh one (all 0) if it is new */
struct pair *pair_find(const struct pair_table *table, uint64_t key); /* or NULL */

#endif
