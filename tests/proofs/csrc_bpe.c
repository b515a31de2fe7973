/* Drives csrc/bpe without Python, so that sanitizers can watch: trains on drawn texts, encodes others by all
 * patterns and with one to three threads, and compares with the slow and obvious loops; decodes everything again.
 */
#include "bpe.h"
#include "csrc_require.h"
#include "pieces.h"
#include "tinyllm.h"

#include <stdlib.h>

enum { MOST = 300000, MERGES = 500, TOKENS = 256 + MERGES };

static uint64_t state = 88172645463325252u; /* Marsaglia's xorshift */
static uint64_t draw(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static struct { int32_t left[MERGES], right[MERGES], made[MERGES], rank[MERGES]; int64_t n; } merges;
static struct { uint8_t *bytes; int64_t offsets[TOKENS + 1]; uint8_t there[TOKENS]; int32_t numbers[TOKENS]; } tokens;

/* --- texts in blocks of exactly their size, so that reading beyond them is seen ---------------------------------- */

static uint8_t *draw_text(int64_t n) {
    uint8_t *text = malloc((size_t)n + !n);
    int kind = (int)draw(6);
    for (int64_t i = 0; i < n; i++) {
        const char *letters[] = {"a", "ab", "abc  \n", "the cat's 12 mats\xc3\xa9", "\xf0\x9f\x98\x80\xf0\x9f\x98\x81"};
        if (kind == 5) text[i] = (uint8_t)draw(256);
        else if (kind == 4) text[i] = (uint8_t)letters[4][i % 8];
        else text[i] = (uint8_t)letters[kind][draw(strlen(letters[kind]))];
    }
    return text;
}

/* --- the slow and obvious loops ----------------------------------------------------------------------------------- */

static int64_t slowly(int32_t *ids, int64_t n) {
    for (int64_t k = 0; k < merges.n; k++) { /* in the order of learning, so every pair is gone for good */
        int64_t to = 0;
        for (int64_t i = 0; i < n; i++) {
            int joins = i + 1 < n && ids[i] == merges.left[k] && ids[i + 1] == merges.right[k];
            ids[to++] = joins ? merges.made[k] : ids[i];
            i += joins;
        }
        n = to;
    }
    return n;
}

static void require_counts(const uint8_t *text, int64_t n, int pattern) { /* is the first merge the best? */
    int64_t *count = calloc(65536, sizeof *count), best = 0;
    for (int64_t at = 0, end; at < n; at = end) {
        end = piece_end(pattern, text, n, at);
        for (int64_t i = at; i + 1 < end; i++) count[text[i] << 8 | text[i + 1]]++;
    }
    for (int k = 1; k < 65536; k++)
        if (count[k] > count[best]) best = k;
    REQUIRE(count[best] == 0 ? merges.n == 0 : merges.left[0] << 8 == (best & 0xff00) && merges.right[0] == (best & 255),
            "the first merge is not of the most frequent pair");
    free(count);
}

/* --- train, encode, decode ---------------------------------------------------------------------------------------- */

static void learn(const uint8_t *text, int64_t n, int pattern, int repeat) {
    struct bpe_text one = {.bytes = text, .n = n, .pattern = pattern};
    struct bpe_part *parts;
    int64_t n_parts;
    struct bpe_counter *counter = bpe_counter_new();
    REQUIRE(counter && bpe_cut(&parts, &n_parts, &one, 1) == 0, "no memory");
    for (int i = 0; i < repeat; i++) REQUIRE(bpe_count_parts(counter, &one, parts, 0, n_parts) == 0, "no memory");
    bpe_parts_free(parts, n_parts);
    REQUIRE(bpe_counter_merge(counter) == 0, "no memory");
    struct bpe_trainer *trainer = bpe_trainer_new(counter, MERGES);
    bpe_counter_free(counter);
    REQUIRE(trainer, "no memory");
    bpe_trainer_run(trainer, 3);
    int64_t n_merges = bpe_trainer_run(trainer, MERGES);
    const int32_t *pairs = bpe_trainer_pairs(trainer);
    int same = repeat == 1 || n_merges == merges.n; /* with other threads, and twice the text, the same is learnt */
    for (int64_t i = 0; i < n_merges; i++) {
        same &= repeat == 1 || (merges.left[i] == pairs[2 * i] && merges.right[i] == pairs[2 * i + 1]);
        merges.left[i] = pairs[2 * i];
        merges.right[i] = pairs[2 * i + 1];
        merges.made[i] = (int32_t)(256 + i);
        merges.rank[i] = (int32_t)i;
    }
    merges.n = n_merges;
    REQUIRE(same, "training depends on the threads");
    bpe_trainer_free(trainer);
}

static void spell_tokens(void) {
    int64_t room = 1 << 20, at = 0;
    free(tokens.bytes);
    tokens.bytes = malloc((size_t)room);
    for (int32_t i = 0; i < 256 + merges.n; i++) {
        tokens.offsets[i] = at;
        tokens.there[i] = 1;
        tokens.numbers[i] = i;
        if (i < 256) {
            tokens.bytes[at++] = (uint8_t)i;
            continue;
        }
        for (int side = 0; side < 2; side++) {
            int32_t from = side ? merges.right[i - 256] : merges.left[i - 256];
            int64_t size = tokens.offsets[from + 1] - tokens.offsets[from];
            while (at + size > room) tokens.bytes = realloc(tokens.bytes, (size_t)(room *= 2));
            memcpy(tokens.bytes + at, tokens.bytes + tokens.offsets[from], (size_t)size);
            at += size;
        }
        tokens.offsets[i + 1] = at;
    }
    tokens.offsets[256 + merges.n] = at;
}

static void require_decoded(const int32_t *ids, int64_t n, const uint8_t *text, int64_t size) {
    struct bpe_decoder *decoder = bpe_decoder_new(tokens.bytes, tokens.offsets, tokens.there, 256 + merges.n);
    int32_t wrong[] = {0, (int32_t)(256 + merges.n), 1};
    int64_t wide[] = {97, -1};
    REQUIRE(decoder && bpe_decoded_size(decoder, ids, n, 0) == size, "the size is wrong");
    REQUIRE(bpe_decoded_size(decoder, wrong, 3, 0) == -2 && bpe_decoded_size(decoder, wide, 2, 1) == -2, "wrong ids");
    uint8_t *out = malloc((size_t)size + !size);
    REQUIRE(bpe_decode(out, size, decoder, wrong, 3, 0) < 0, "ids that changed into wrong ones are decoded");
    REQUIRE(!size || bpe_decode(out, size - 1, decoder, ids, n, 0) < 0, "more is written than there is room for");
    REQUIRE(bpe_decode(out, size, decoder, ids, n, 0) == 0, "what was sized is not decoded");
    REQUIRE(memcmp(out, text, (size_t)size) == 0, "decoding loses something");
    free(out);
    bpe_decoder_free(decoder);
}

/* The ids of a text, piece by piece, by the slow loop; `whole` first where a piece is a token. */
static int64_t expected_ids(int32_t *ids, const uint8_t *text, int64_t n, int pattern) {
    int64_t count = 0;
    for (int64_t at = 0, end; at < n; at = end) {
        end = piece_end(pattern, text, n, at);
        for (int64_t i = at; i < end; i++) ids[count + i - at] = text[i];
        count += slowly(ids + count, end - at);
    }
    return count;
}

static void check_text(struct bpe_encoder *encoder, const uint8_t *text, int64_t n, int pattern) {
    int32_t byte_room = 1, *expected = malloc((size_t)(n + byte_room) * sizeof *expected);
    int64_t count = expected_ids(expected, text, n, pattern), done = 0, n_parts;
    int64_t *ends = malloc((size_t)(n + byte_room) * sizeof *ends);
    int64_t n_ends = n ? piece_ends(ends, n, pattern, text, n, 0) : 0;
    struct bpe_text both[] = {{.bytes = text, .n = n, .pattern = pattern},
                              {.bytes = text, .n = n, .ends = ends, .n_ends = n_ends}};
    struct bpe_part *parts;
    REQUIRE(bpe_cut(&parts, &n_parts, both, 2) == 0 && bpe_encode_parts(encoder, both, parts, 0, n_parts) == 0, "no memory");
    for (int64_t k = 0, at = 0; k < n_parts; k++) {
        if (k && parts[k].text != parts[k - 1].text) at = 0;
        REQUIRE(at + parts[k].count <= count, "too many ids");
        REQUIRE(memcmp(parts[k].ids, expected + at, (size_t)parts[k].count * sizeof *expected) == 0, "other ids");
        at += parts[k].count;
        done += parts[k].count;
    }
    REQUIRE(done == 2 * count, "%lld ids, not %lld", (long long)done, (long long)(2 * count));
    require_decoded(expected, count, text, n);
    bpe_parts_free(parts, n_parts);
    free(ends);
    free(expected);
}

static struct bpe_vocab *vocabulary(int whole) {
    int32_t byte_ids[256];
    for (int i = 0; i < 256; i++) byte_ids[i] = i;
    return bpe_vocab_new(byte_ids, merges.left, merges.right, merges.made, merges.rank, merges.n, tokens.bytes,
                         tokens.offsets, tokens.numbers, whole ? 256 + merges.n : 0);
}

static void check_round(int64_t most) {
    int pattern = (int)draw(PIECES_PATTERNS);
    int64_t n = (int64_t)draw((uint64_t)most);
    uint8_t *text = draw_text(n);
    parallel_threads(1 + (int)draw(3));
    learn(text, n, pattern, 1);
    require_counts(text, n, pattern);
    parallel_threads(1 + (int)draw(3));
    learn(text, n, pattern, 2);
    spell_tokens();
    struct bpe_vocab *vocabs[] = {vocabulary(0), vocabulary(1)};
    REQUIRE(vocabs[0] && vocabs[1], "no memory");
    struct bpe_encoder *plain = bpe_encoder_new(vocabs[0]), *whole = bpe_encoder_new(vocabs[1]);
    REQUIRE(plain && whole, "no memory");
    check_text(plain, text, n, pattern);
    for (int i = 0; i < 4; i++) {
        int64_t m = (int64_t)draw(i == 0 ? (uint64_t)most : 200);
        uint8_t *other = draw_text(m);
        check_text(plain, other, m, pattern);
        check_text(plain, other, m, (pattern + 1) % PIECES_PATTERNS);
        free(other);
    }
    check_text(whole, text, n, pattern); /* its pieces led to these tokens, or are longer than them */
    bpe_encoder_free(plain);
    bpe_encoder_free(whole);
    bpe_vocab_free(vocabs[0]);
    bpe_vocab_free(vocabs[1]);
    free(text);
}

int main(void) {
    for (int round = 0; round < 60; round++) check_round(round % 10 == 9 ? MOST : round % 2 ? 3000 : 60);
    parallel_threads(1);
    free(tokens.bytes);
    pool_empty();
    puts("byte pair encoding holds");
    return 0;
}
