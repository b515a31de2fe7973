/* Count how often each piece occurs in texts: training needs only these counts.
 *
 * Each thread fills a table of its own, and the tables are added up at the end. Sums do not depend on their order, and
 * training does not depend on the order of the pieces, so the result is the same for any number of threads.
 * A piece of up to 15 bytes is its own key; the key of a longer piece is a hash and a place in an arena with its bytes.
 */
#include "bpe.h"
#include "pieces.h"

enum { MOST_TABLES = 256, FIRST_BITS = 10 };
#define LONG_PIECE ((uint64_t)0xff << 56) /* marks the key of a long piece: its hash, and its place in the arena */

struct entry {
    struct bpe_key key;
    int64_t count; /* 0: the slot is empty */
};

struct table {
    struct entry *entries;
    int bits;
    int64_t used, cells; /* entries, and the bytes of their pieces */
    uint8_t *arena;      /* of long pieces: their length in 8 bytes, then the bytes */
    int64_t filled, room;
    int64_t ends[BPE_ENDS];
};

struct bpe_counter {
    struct bpe_seed seed;
    struct table *tables[MOST_TABLES]; /* one for each thread; bpe_counter_merge adds all to tables[0] */
};

/* --- one table ---------------------------------------------------------------------------------------------------- */

static void table_free(struct table *table) {
    if (!table) return;
    free(table->entries);
    free(table->arena);
    free(table);
}

static struct table *table_new(void) {
    struct table *table = calloc(1, sizeof *table);
    if (!table) return NULL;
    table->bits = FIRST_BITS;
    table->entries = calloc((size_t)1 << table->bits, sizeof *table->entries);
    if (table->entries) return table;
    free(table);
    return NULL;
}

/* Return the hash of a key; the key of a long piece contains the hash. */
static inline uint64_t hash_of(struct bpe_seed seed, struct bpe_key key) {
    return key.high >= LONG_PIECE ? key.low : bpe_hash(seed, key);
}

static int grow(struct table *table, struct bpe_seed seed) {
    int bits = table->bits + 1;
    uint64_t mask = ((uint64_t)1 << bits) - 1;
    struct entry *entries = calloc((size_t)1 << bits, sizeof *entries);
    if (!entries) return -1;
    for (int64_t old = 0; old < (int64_t)1 << table->bits; old++) {
        if (!table->entries[old].count) continue;
        struct bpe_key key = table->entries[old].key;
        uint64_t i = hash_of(seed, key) >> (64 - bits);
        while (entries[i].count) i = (i + 1) & mask;
        entries[i] = table->entries[old];
    }
    free(table->entries);
    table->entries = entries;
    table->bits = bits;
    return 0;
}

static int64_t keep(struct table *table, const uint8_t *piece, int64_t n) {
    int64_t need = 8 + n, at = table->filled;
    uint8_t *arena = bpe_grow(table->arena, &table->room, at + need, 1);
    if (!arena) return -1;
    table->arena = arena;
    memcpy(table->arena + at, &n, 8);
    memcpy(table->arena + at + 8, piece, (size_t)n);
    table->filled += need;
    return at;
}

/* Return the bytes of a long piece, which are in the arena. */
static const uint8_t *kept(const struct table *table, struct bpe_key key, int64_t *n) {
    const uint8_t *at = table->arena + (key.high & ~LONG_PIECE);
    memcpy(n, at, 8);
    return at + 8;
}

/* Return the bytes of a piece, from the arena, or copied from its key. */
static const uint8_t *bytes_of(const struct table *table, const struct entry *entry, uint8_t copy[16], int64_t *n) {
    *n = (int64_t)(entry->key.high >> 56);
    if (entry->key.high >= LONG_PIECE) return kept(table, entry->key, n);
    return memcpy(copy, &entry->key, 16);
}

/* Return 1 if an entry is for this piece. `key` is the piece's key, without a place in the arena if it is long. */
static inline int is_piece(const struct table *table, const struct entry *entry, struct bpe_key key,
                           const uint8_t *piece, int64_t n) {
    if (entry->key.low != key.low) return 0;
    if (n <= BPE_INLINE) return entry->key.high == key.high;
    int64_t m = 0;
    const uint8_t *other = entry->key.high >= LONG_PIECE ? kept(table, entry->key, &m) : NULL;
    return m == n && memcmp(other, piece, (size_t)n) == 0;
}

/* Add `count` occurrences of a piece; `left` >= n bytes may be read at `piece`. Return -1 if there is no memory. */
static inline int add(struct table *table, struct bpe_seed seed, const uint8_t *piece, int64_t n, int64_t left,
                      int64_t count) {
    struct bpe_key key = n <= BPE_INLINE ? bpe_key(piece, n, left)
                                         : (struct bpe_key){bpe_hash_bytes(seed, piece, n), LONG_PIECE};
    uint64_t i = hash_of(seed, key) >> (64 - table->bits), mask = ((uint64_t)1 << table->bits) - 1;
    for (; table->entries[i].count; i = (i + 1) & mask) {
        if (!is_piece(table, &table->entries[i], key, piece, n)) continue;
        table->entries[i].count += count;
        return 0;
    }
    if (n > BPE_INLINE) {
        int64_t at = keep(table, piece, n);
        if (at < 0) return -1;
        key.high |= (uint64_t)at;
    }
    table->entries[i] = (struct entry){key, count};
    table->cells += n;
    return 2 * ++table->used > (int64_t)1 << table->bits ? grow(table, seed) : 0;
}

static int count_part(struct table *table, struct bpe_seed seed, const struct bpe_text *text,
                      const struct bpe_part *part) {
    for (int64_t at = part->begin; at < part->end;) {
        int64_t n = bpe_piece_ends(table->ends, BPE_ENDS, text->pattern, text->bytes, part->end, at);
        for (int64_t k = 0; k < n; at = table->ends[k++]) {
            if (add(table, seed, text->bytes + at, table->ends[k] - at, text->n - at, 1) != 0) return -1;
        }
    }
    return 0;
}

/* --- all tables -------------------------------------------------------------------------------------------------- */

struct bpe_counter *bpe_counter_new(void) {
    struct bpe_counter *counter = calloc(1, sizeof *counter);
    if (!counter) return NULL;
    counter->seed = bpe_seed(counter);
    counter->tables[0] = table_new();
    if (counter->tables[0]) return counter;
    free(counter);
    return NULL;
}

void bpe_counter_free(struct bpe_counter *counter) {
    if (!counter) return;
    for (int i = 0; i < MOST_TABLES; i++) table_free(counter->tables[i]);
    free(counter);
}

struct work {
    struct bpe_counter *counter;
    const struct bpe_text *texts;
    const struct bpe_part *parts;
};

static int count_one_part(void *context, int64_t thread, int64_t i) {
    const struct work *work = context;
    struct table **table = &work->counter->tables[thread];
    if (!*table && !(*table = table_new())) return -1;
    return count_part(*table, work->counter->seed, &work->texts[work->parts[i].text], &work->parts[i]);
}

int bpe_count_parts(struct bpe_counter *counter, const struct bpe_text *texts, const struct bpe_part *parts,
                    int64_t first, int64_t last) {
    struct work work = {counter, texts, parts};
    return bpe_each_part(count_one_part, &work, first, last, MOST_TABLES);
}

int bpe_count_one(struct bpe_counter *counter, const uint8_t *piece, int64_t n, int64_t count) {
    return add(counter->tables[0], counter->seed, piece, n, n, count);
}

int bpe_counter_merge(struct bpe_counter *counter) {
    struct table *sum = counter->tables[0];
    for (int t = 1; t < MOST_TABLES; t++) {
        struct table *table = counter->tables[t];
        for (int64_t i = 0; table && i < (int64_t)1 << table->bits; i++) {
            struct entry entry = table->entries[i];
            if (!entry.count) continue;
            uint8_t copy[16];
            int64_t n;
            const uint8_t *piece = bytes_of(table, &entry, copy, &n);
            if (add(sum, counter->seed, piece, n, n, entry.count) != 0) return -1;
        }
        table_free(table);
        counter->tables[t] = NULL;
    }
    return 0;
}

int64_t bpe_counter_cells(const struct bpe_counter *counter) {
    const struct table *table = counter->tables[0];
    uint8_t copy[16];
    int64_t n, cells = table->cells + table->used;
    for (int64_t i = 0; i < (int64_t)1 << table->bits; i++) {
        if (table->entries[i].count <= INT32_MAX) continue;
        bytes_of(table, &table->entries[i], copy, &n);
        cells += (n + 1) * ((table->entries[i].count - 1) / INT32_MAX);
    }
    return cells;
}

void bpe_counter_lay(struct bpe_cell *cells, const struct bpe_counter *counter) {
    const struct table *table = counter->tables[0];
    uint8_t copy[16];
    int64_t n;
    for (int64_t i = 0; i < (int64_t)1 << table->bits; i++) {
        const struct entry *entry = &table->entries[i];
        const uint8_t *piece = entry->count ? bytes_of(table, entry, copy, &n) : NULL;
        for (int64_t left = entry->count; left > 0; left -= INT32_MAX) {
            int32_t weight = left < INT32_MAX ? (int32_t)left : INT32_MAX;
            for (int64_t k = 0; k < n; k++) *cells++ = (struct bpe_cell){piece[k], weight};
            *cells++ = (struct bpe_cell){BPE_GAP, 0};
        }
    }
}
