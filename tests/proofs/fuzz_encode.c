/* Encoding for fuzz_tokenizer.c: vocabularies from the input, and the same ids from slow and obvious loops. */
#include "fuzz.h"

enum { LONGEST = 64 }; /* bytes of a token */

/* --- vocabularies: ids with gaps, merges in any order, several tokens of the same bytes --------------------------- */

static struct {
    int64_t n, n_merges, n_whole, whole_first;
    int32_t id[TOKENS], next;
    uint8_t spelling[TOKENS][LONGEST];
    int64_t length[TOKENS];
    int32_t left[MERGES], right[MERGES], made[MERGES], rank[MERGES]; /* indices of tokens, not ids */
    int16_t merge[TOKENS][TOKENS];                                   /* 1 + which merge, or 0 */
    int32_t whole[TOKENS];
} v;

static int32_t find_spelling(const uint8_t *bytes, int64_t n) {
    for (int32_t i = 0; i < v.n; i++)
        if (v.length[i] == n && memcmp(v.spelling[i], bytes, (size_t)n) == 0) return i;
    return NONE;
}

static void add_merge(int32_t left, int32_t right, int own, int32_t rank, int32_t gap) {
    uint8_t both[2 * LONGEST];
    int64_t n = v.length[left] + v.length[right];
    if (n > LONGEST || v.merge[left][right]) return;
    memcpy(both, v.spelling[left], (size_t)v.length[left]);
    memcpy(both + v.length[left], v.spelling[right], (size_t)v.length[right]);
    int32_t made = find_spelling(both, n);
    if (made == NONE || own) { /* an alias, where there was one */
        made = (int32_t)v.n++;
        v.id[made] = v.next;
        v.next += gap;
        v.length[made] = n;
        memcpy(v.spelling[made], both, (size_t)n);
    }
    int64_t k = v.n_merges++;
    v.left[k] = left;
    v.right[k] = right;
    v.made[k] = made;
    v.rank[k] = rank;
    v.merge[left][right] = (int16_t)(1 + k);
}

/* Choices for a vocabulary; three bytes a merge. */
static void choose_vocabulary(void) {
    for (int64_t k = 0; k < v.n_merges; k++) v.merge[v.left[k]][v.right[k]] = 0;
    int64_t shift = choose(256), gap = 1 + choose(3), order = choose(4), merges = choose(MERGES + 1);
    v.n = 256;
    v.n_merges = 0;
    for (int i = 0; i < 256; i++) {
        v.id[i] = (int32_t)(((i + shift) & 255) * gap);
        v.length[i] = 1;
        v.spelling[i][0] = (uint8_t)i;
    }
    v.next = (int32_t)(256 * gap);
    for (int64_t k = 0; k < merges; k++) {
        int64_t a = choose(256), b = choose(256), c = choose(256), made = v.n - 256;
        const uint8_t *near = input_size > a + 1 ? input + input_size - 2 - a : NULL; /* a pair of bytes of the text */
        int32_t left = (int32_t)(made && c & 1 ? 256 + a % made : near && c & 8 ? near[0] : a);
        int32_t right = (int32_t)(made && c & 2 ? 256 + b % made : near && c & 8 ? near[1] : b);
        int32_t rank = (int32_t)(order == 0 ? v.n_merges : order == 1 ? merges - 1 - k : order == 2 ? c >> 3 : k / 4);
        add_merge(left, right, c & 4 ? 1 : 0, rank, (int32_t)gap);
    }
    v.n_whole = 0;
    v.whole_first = choose(2) == 1;
    for (int32_t k = 0; k < v.n; k++) /* of several tokens of the same bytes the first */
        if (find_spelling(v.spelling[k], v.length[k]) == k) v.whole[v.n_whole++] = k;
}

static struct bpe_vocab *make_vocab(void) {
    int32_t byte_ids[256], left[MERGES], right[MERGES], made[MERGES], numbers[TOKENS];
    int64_t offsets[TOKENS + 1] = {0};
    uint8_t *bytes = room(TOKENS * LONGEST, 1);
    memcpy(byte_ids, v.id, sizeof byte_ids);
    for (int64_t k = 0; k < v.n_merges; k++) {
        left[k] = v.id[v.left[k]];
        right[k] = v.id[v.right[k]];
        made[k] = v.id[v.made[k]];
    }
    for (int64_t i = 0; i < v.n_whole; i++) {
        int32_t token = v.whole[i];
        memcpy(bytes + offsets[i], v.spelling[token], (size_t)v.length[token]);
        offsets[i + 1] = offsets[i] + v.length[token];
        numbers[i] = v.id[token];
    }
    struct bpe_vocab *vocab =
        bpe_vocab_new(byte_ids, left, right, made, v.rank, v.n_merges, bytes, offsets, numbers, v.n_whole,
                      v.whole_first);
    REQUIRE(vocab, "no memory");
    free(bytes);
    return vocab;
}

/* Merge the leftmost pair of the smallest rank, again and again. Indices of tokens. */
static int64_t merge_slowly(int32_t *tokens, int64_t n) {
    for (;;) {
        int64_t best = NONE;
        int32_t rank = INT32_MAX;
        for (int64_t i = 0; i + 1 < n; i++) {
            int k = v.merge[tokens[i]][tokens[i + 1]] - 1;
            if (k >= 0 && v.rank[k] < rank) rank = v.rank[k], best = i;
        }
        if (best == NONE) return n;
        tokens[best] = v.made[v.merge[tokens[best]][tokens[best + 1]] - 1];
        n--;
        memmove(tokens + best + 1, tokens + best + 2, (size_t)(n - best - 1) * sizeof *tokens);
    }
}

static int64_t encode_slowly(int32_t *ids, const uint8_t *piece, int64_t n) {
    int32_t whole = n <= LONGEST && v.whole_first ? find_spelling(piece, n) : NONE;
    for (int64_t i = 0; i < n; i++) ids[i] = piece[i];
    if (whole != NONE) ids[0] = whole;
    n = whole != NONE ? 1 : merge_slowly(ids, n);
    for (int64_t i = 0; i < n; i++) ids[i] = v.id[ids[i]];
    return n;
}

/* --- encoding ----------------------------------------------------------------------------------------------------- */

static int64_t encoded(int32_t **ids, struct bpe_encoder *encoder, const struct bpe_text *text, int64_t cut) {
    struct bpe_part *parts;
    int64_t n_parts = cut_parts(&parts, text, cut), n = 0;
    REQUIRE(bpe_encode_parts(encoder, text, parts, 0, n_parts) == 0, "no memory");
    *ids = room(text->n, sizeof **ids);
    for (int64_t k = 0; k < n_parts; k++) {
        REQUIRE(n + parts[k].count <= text->n, "more ids than bytes");
        memcpy(*ids + n, parts[k].ids, (size_t)parts[k].count * sizeof **ids);
        n += parts[k].count;
    }
    bpe_parts_free(parts, n_parts);
    return n;
}

static void require_round_trip(const int32_t *ids, int64_t n, const uint8_t *text, int64_t size) {
    static int32_t token_of[4 * TOKENS];
    for (int32_t i = 0; i < 4 * TOKENS; i++) token_of[i] = NONE;
    for (int32_t i = 0; i < v.n; i++) token_of[v.id[i]] = i;
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t token = ids[i] >= 0 && ids[i] < 4 * TOKENS ? token_of[ids[i]] : NONE;
        REQUIRE(token != NONE, "%d is no id", ids[i]);
        REQUIRE(at + v.length[token] <= size && memcmp(text + at, v.spelling[token], (size_t)v.length[token]) == 0,
                "token %lld is not of this text", (long long)i);
        at += v.length[token];
    }
    REQUIRE(at == size, "the ids end at %lld of %lld bytes", (long long)at, (long long)size);
}

void fuzz_encode(void) {
    choose_vocabulary();
    int pattern = (int)choose(PIECES_PATTERNS);
    int64_t from = choose(256), n = input_size;
    uint8_t *text = copy_of(input, n);
    int64_t *ends = room(n, sizeof *ends), count = ends_of(ends, pattern, text, n), slow = 0;
    struct bpe_vocab *vocab = make_vocab();
    struct bpe_encoder *encoder = bpe_encoder_new(vocab);
    REQUIRE(encoder, "no memory");
    struct bpe_text by_pattern = {.bytes = text, .n = n, .pattern = pattern};
    struct bpe_text by_ends = {.bytes = text, .n = n, .ends = ends, .n_ends = count};
    int32_t *ids, *again, *expected = room(n, sizeof *expected);
    int64_t n_ids = encoded(&ids, encoder, &by_pattern, NONE);
    require_round_trip(ids, n_ids, text, n);
    for (int64_t i = 0, at = 0; i < count && ends[i] - at <= SLOW; at = ends[i++]) {
        int64_t k = encode_slowly(expected, text + at, ends[i] - at);
        REQUIRE(slow + k <= n_ids && same(ids + slow, expected, k, sizeof *ids), "other ids than slowly");
        slow += k;
    }
    int64_t cuts[] = {from < n ? piece_cut(text, n, from) : n, from < count ? from : count};
    for (int i = 0; i < 2; i++) { /* cut in two, with what the workers remember by now; by the ends of pieces */
        int64_t m = encoded(&again, encoder, i ? &by_ends : &by_pattern, cuts[i]);
        REQUIRE(m == n_ids && same(ids, again, m, sizeof *ids), "other ids in two parts");
        free(again);
    }
    free(ids);
    free(expected);
    free(ends);
    free(text);
    bpe_encoder_free(encoder);
    bpe_vocab_free(vocab);
}

/* One piece that is given as ids, of any tokens. */
void fuzz_merge(void) {
    choose_vocabulary();
    int64_t across = 1 + choose(2), n = input_size < SLOW ? input_size : SLOW;
    int32_t *tokens = room(n, sizeof *tokens), *ids = room(n, sizeof *ids);
    for (int64_t i = 0; i < n; i++) {
        int64_t made = v.n - 256, byte = choose(256);
        tokens[i] = (int32_t)(made && across == 2 && byte >= 128 ? 256 + byte % made : byte);
        ids[i] = v.id[tokens[i]];
    }
    struct bpe_vocab *vocab = make_vocab();
    int64_t m = bpe_merge_ids(vocab, ids, n), expected = merge_slowly(tokens, n);
    REQUIRE(m == expected, "%lld ids, not %lld", (long long)m, (long long)expected);
    for (int64_t i = 0; i < m; i++) REQUIRE(ids[i] == v.id[tokens[i]], "another id at %lld", (long long)i);
    free(tokens);
    free(ids);
    bpe_vocab_free(vocab);
}

