/* Encoding by longest matches: the tokens that merging would leave, without merging (van Antwerpen and Neubeck 2024,
 * "So many tokens, so little time", and their crate `bpe`).
 *
 * Until a merge crosses the border between two neighbours, each is merged as if it stood alone. So a row of tokens is
 * what merging leaves if and only if
 *   - each token comes out when its own bytes are merged, and that happens by one last merge, its split;
 *   - and no two neighbours are merged across their border, which `stays_apart` sees by undoing both, the last merge
 *     first: whenever two tokens stand at the border, would they be merged before the next merge inside?
 * There is one such row for every text and every beginning of it. So take the longest token, then the longest that
 * stays apart from it, and so on; where none fits, no row goes through this place, which is marked as dead: one step
 * back.
 *
 * Tokens are made in the order of ranks, so no two pairs may have the same. A pair that comes before its halves makes
 * no token here, but keeps them from standing side by side; so then there may be no row. Such a text is left to
 * merge.c, and one on which this takes too many steps, too.
 *
 * The ladder: merging looks up a pair for each byte and two more for each merge. This takes 2.3 steps for each byte of
 * 25 languages, through the trie or to a pair: they are encoded in 68 ms, not 98. With a hash table of edges in place
 * of the double array it was 84, for that does not fit the second cache.
 */
#include "vocab.h"

enum { FEW = 4, STEPS = 64 }; /* words of 64 dead places that need no memory of their own; steps for each byte */

/* Return 0 if a pair across the border of a and b is merged before both are made, or then by a rank below `limit`. */
static inline int stays_apart(const struct bpe_vocab *vocab, int32_t a, int32_t b, int32_t limit, int64_t *steps) {
    const struct bpe_token *tokens = vocab->tokens + 256;
    for (;; --*steps) {
        if (bpe_find_pair(vocab, a, b)->rank < limit) return 0;
        if (tokens[a].rank > tokens[b].rank) {
            limit = tokens[a].rank; /* of equal ranks, the one to the left goes first */
            a = tokens[a].right;
        } else if (tokens[b].rank >= 0) {
            limit = tokens[b].rank + 1;
            b = tokens[b].left;
        } else {
            return 1;
        }
    }
}

static inline int32_t longest(const struct bpe_vocab *vocab, const uint8_t *p, int64_t n, int64_t *steps) {
    int32_t found = BPE_NO_TOKEN;
    struct bpe_node node = {.base = BPE_ROOT};
    int64_t i = 0;
    for (; i < n; i++) {
        node = vocab->trie[node.base ^ p[i]];
        if (node.label != p[i]) break;
        if (node.token != BPE_NO_TOKEN) found = node.token;
    }
    *steps -= i;
    return found;
}

static inline int is_dead(const uint64_t *dead, int64_t at) { return dead[at >> 6] >> (at & 63) & 1; }

static int64_t match(const struct bpe_vocab *vocab, int32_t *out, const uint8_t *piece, int64_t n, uint64_t *dead) {
    const struct bpe_token *tokens = vocab->tokens + 256;
    int64_t count = 0, at = 0, steps = STEPS * n;
    int32_t next = longest(vocab, piece, n, &steps);
    while (steps-- > 0) {
        int64_t end = at + tokens[next].length;
        if (!is_dead(dead, end) && (count == 0 || stays_apart(vocab, out[count - 1], next, BPE_NO_RANK, &steps))) {
            out[count++] = next;
            at = end;
            if (at == n) return count;
            next = longest(vocab, piece + at, n - at, &steps);
        } else if (tokens[next].shorter != BPE_NO_TOKEN) {
            next = tokens[next].shorter;
        } else if (count == 0) {
            return -1;
        } else {
            dead[at >> 6] |= (uint64_t)1 << (at & 63);
            next = out[--count];
            at -= tokens[next].length;
        }
    }
    return -1;
}

int64_t bpe_match(const struct bpe_vocab *vocab, int32_t *out, const uint8_t *piece, int64_t n) {
    if (!vocab->trie) return -1;
    uint64_t few[FEW] = {0}, *dead = n < 64 * FEW ? few : calloc((size_t)n / 64 + 1, sizeof *dead);
    int64_t count = dead ? match(vocab, out, piece, n, dead) : -1;
    if (dead != few) free(dead);
    return count;
}

/* --- the splits of tokens ----------------------------------------------------------------------------------------- */

int64_t bpe_add_splits(struct bpe_vocab *vocab, const struct bpe_merges *m, int32_t largest) {
    if (largest >= BPE_MOST_NODES) return -1;
    vocab->tokens = calloc((size_t)largest + 257, sizeof *vocab->tokens);
    if (!vocab->tokens) return -1;
    struct bpe_token *tokens = vocab->tokens + 256;
    for (int i = 0; i < 256; i++) tokens[vocab->byte_ids[i]] = (struct bpe_token){-1, 0, 0, BPE_NO_TOKEN, 1};
    int64_t known = 0, steps = 0;
    for (int32_t rank = 0; rank < m->n; rank++) {
        int32_t a = m->left[rank], b = m->right[rank], made = m->made[rank];
        if (m->rank[rank] != rank) return -1;
        if (!tokens[a].length || !tokens[b].length || !stays_apart(vocab, a, b, rank, &steps)) continue;
        int64_t length = (int64_t)tokens[a].length + tokens[b].length;
        if (tokens[made].length || length > BPE_MOST_NODES) return -1;
        tokens[made] = (struct bpe_token){rank, a, b, BPE_NO_TOKEN, (int32_t)length};
        known++;
    }
    return known;
}
