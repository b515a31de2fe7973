/* Find places in a piece that no token reaches across: both sides can be merged alone.
 *
 * Scripts without spaces have long pieces, which hardly repeat; but few pairs of their characters occur in a token. So
 * such a piece is cut into short parts, which do repeat, and which the encoder remembers.
 *
 * A token reaches across the place between two characters l and r if it contains l r (the set `joined`), or if it
 * begins inside of l or ends inside of r (the set `halves`, of the bytes on both sides). `joined` may contain more
 * pairs than were put in, because it keeps only hashes; then there is one cut less, which changes no result.
 */
#include "vocab.h"

enum { HALVES = 1 << 16 };

/* Return the bytes of a character of UTF-8 as a number, or 0 if there is no whole character. */
static inline uint32_t character(const uint8_t *p, int64_t left) {
    uint32_t c = p[0], more = c < 0xc0 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    if ((c >= 0x80 && more == 0) || left <= more) return 0;
    for (uint32_t i = 1; i <= more; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        c = c << 8 | p[i];
    }
    return c;
}

static inline int64_t size_of(uint32_t c) { return c < 0x100 ? 1 : c < 0x10000 ? 2 : c < 0x1000000 ? 3 : 4; }

static inline uint64_t pair_bit(const struct bpe_vocab *vocab, uint32_t l, uint32_t r) {
    return (((uint64_t)l << 32 | r) * vocab->seed.second) >> vocab->joined_shift;
}

static inline int has(const uint64_t *bits, uint64_t i) { return bits[i >> 6] >> (i & 63) & 1; }
static inline void put(uint64_t *bits, uint64_t i) { bits[i >> 6] |= (uint64_t)1 << (i & 63); }

static void add_token(struct bpe_vocab *vocab, const uint8_t *token, int64_t n) {
    uint32_t l = character(token, n), r;
    for (int64_t at = size_of(l); at < n; at += size_of(r), l = r) {
        r = character(token + at, n - at);
        if (l && r) put(vocab->joined, pair_bit(vocab, l, r));
        else put(vocab->halves, (uint64_t)token[at - 1] << 8 | token[at]);
    }
}

int bpe_add_cuts(struct bpe_vocab *vocab, const uint8_t *bytes, const int64_t *offsets, int64_t n) {
    if (n == 0) return 0;
    vocab->joined_shift = 64 - 10;
    while (vocab->joined_shift > 64 - 26 && (int64_t)1 << (64 - vocab->joined_shift) < 2 * n) vocab->joined_shift--;
    vocab->joined = calloc(((size_t)1 << (64 - vocab->joined_shift)) / 64, sizeof *vocab->joined);
    vocab->halves = calloc(HALVES / 64, sizeof *vocab->halves);
    if (!vocab->joined || !vocab->halves) return -1;
    for (int64_t i = 0; i < n; i++)
        if (offsets[i] < offsets[i + 1]) add_token(vocab, bytes + offsets[i], offsets[i + 1] - offsets[i]);
    return 0;
}

int64_t bpe_next_cut(const struct bpe_vocab *vocab, const uint8_t *piece, int64_t n, int64_t at) {
    if (!vocab->joined) return n;
    uint32_t l = character(piece + at, n - at), r;
    for (at += size_of(l); at < n; at += size_of(r), l = r) {
        r = character(piece + at, n - at);
        if (l && r && !has(vocab->joined, pair_bit(vocab, l, r)) &&
            !has(vocab->halves, (uint64_t)piece[at - 1] << 8 | piece[at])) return at;
    }
    return n;
}
