/* What csrc_tokenizer.c checks of the tokenizer's C, on inputs that it draws.
 *
 * Every input is choices and then text: the choices make a vocabulary, or say where a text is cut and how much of it is
 * asked for at a time. What the code answers is held against slow and obvious loops.
 */
#include "fuzz.h"

const uint8_t *input;
int64_t input_size;

/* --- splitting ---------------------------------------------------------------------------------------------------- */

/* The text cut in two at `cut`, each half split by itself: the same ends as those of the whole. */
static void require_cut(const int64_t *ends, int64_t count, int pattern, const uint8_t *text, int64_t n, int64_t cut) {
    uint8_t *left = copy_of(text, cut), *right = copy_of(text + cut, n - cut);
    int64_t *both = room(n, sizeof *both), there = ends_of(both, pattern, left, cut);
    int64_t more = ends_of(both + there, pattern, right, n - cut);
    for (int64_t i = 0; i < more; i++) both[there + i] += cut;
    REQUIRE(there + more == count && same(both, ends, count, sizeof *ends),
            "pattern %d: the pieces change when cut at %lld", pattern, (long long)cut);
    free(left);
    free(right);
    free(both);
}

static void fuzz_split(void) {
    int pattern = (int)choose(PIECES_PATTERNS);
    int64_t most = 1 + choose(255), before = choose(256), from = choose(256);
    int64_t n = input_size, at = 0, done = 0;
    uint8_t *text = copy_of(input, n);
    int64_t *ends = room(n, sizeof *ends), *some = room(most, sizeof *some), count = ends_of(ends, pattern, text, n);
    while (at < n) { /* some at a time */
        int64_t k = piece_ends(some, most, pattern, text, n, at);
        REQUIRE(k > 0 && k <= most && done + k <= count, "%lld ends at once", (long long)k);
        REQUIRE(same(some, ends + done, k, sizeof *ends), "some pieces at a time are others");
        done += k;
        at = some[k - 1];
    }
    if (before > n) before = n;
    int64_t rest = n - before;
    if (from > rest) from = rest;
    uint8_t *tail = copy_of(text + before, rest); /* a cut must hold whatever precedes, so look at the tail alone */
    int64_t cut = piece_cut(tail, rest, from);
    REQUIRE(cut >= from && cut <= rest, "a cut at %lld of %lld", (long long)cut, (long long)rest);
    if (cut < rest) require_cut(ends, count, pattern, text, n, before + cut);
    free(tail);
    free(some);
    free(ends);
    free(text);
}

/* --- decoding: tokens of all lengths, ids that are none ----------------------------------------------------------- */

static void fuzz_decode(void) {
    int64_t n = choose(64), wide = choose(2), at = 0, size = 0, wrong = 0;
    int64_t *offsets = room(n + 1, sizeof *offsets);
    uint8_t *there = room(n, 1), *bytes = room(64 * n, 1);
    offsets[0] = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t length = choose(128);
        there[i] = length < 120;
        length = there[i] ? length % 40 : 0;
        for (int64_t k = 0; k < length; k++) bytes[at++] = (uint8_t)(i * 37 + k);
        offsets[i + 1] = at;
    }
    struct bpe_decoder *decoder = bpe_decoder_new(bytes, offsets, there, n);
    REQUIRE(decoder, "no memory");
    int64_t count = input_size;
    int32_t *narrow = room(count, sizeof *narrow);
    int64_t *broad = room(count, sizeof *broad);
    for (int64_t i = 0; i < count; i++) {
        const int64_t odd[] = {-1, INT32_MAX, INT32_MIN, n, wide ? INT64_MAX : -2, wide ? (int64_t)1 << 32 : n + 1};
        int64_t byte = choose(256), id = byte >= 250 ? odd[byte - 250] : n ? byte % n : 0;
        narrow[i] = (int32_t)(broad[i] = id);
        int sound = id >= 0 && id < n && there[id];
        if (!sound && !wrong) wrong = -1 - i;
        if (sound) size += offsets[id + 1] - offsets[id];
    }
    const void *ids = wide ? (const void *)broad : narrow;
    int64_t told = bpe_decoded_size(decoder, ids, count, (int)wide);
    REQUIRE(told == (wrong ? wrong : size), "a size of %lld", (long long)told);
    uint8_t *out = room(size, 1);
    REQUIRE(!wrong == !bpe_decode(out, size, decoder, ids, count, (int)wide), "only what was sized may be decoded");
    if (!wrong) {
        REQUIRE(!size || bpe_decode(out, size - 1, decoder, ids, count, (int)wide), "more than there is room for");
        REQUIRE(!bpe_decode(out, size, decoder, ids, count, (int)wide), "what was sized is not decoded");
        for (int64_t i = 0, to = 0; i < count; i++) {
            int64_t length = offsets[broad[i] + 1] - offsets[broad[i]];
            REQUIRE(same(out + to, bytes + offsets[broad[i]], length, 1), "other bytes at %lld", (long long)to);
            to += length;
        }
    }
    free(out);
    bpe_decoder_free(decoder);
    free(narrow);
    free(broad);
    free(offsets);
    free(there);
    free(bytes);
}

/* --- training ----------------------------------------------------------------------------------------------------- */

static struct { int32_t pairs[2 * MERGES]; int64_t n; } learnt[2];

/* Learn from a text in two parts, from single pieces and their counts too; `step` merges at a time. */
static void learn(int which, const struct bpe_text *text, int64_t cut, const uint8_t *piece, int64_t n, int64_t count,
                  int64_t merges, int64_t step) {
    struct bpe_part *parts;
    int64_t n_parts = cut_parts(&parts, text, cut);
    struct bpe_counter *counter = bpe_counter_new();
    REQUIRE(counter && bpe_count_parts(counter, text, parts, 0, n_parts) == 0, "no memory");
    bpe_parts_free(parts, n_parts);
    if (n) REQUIRE(bpe_count_one(counter, piece, n, count) == 0, "no memory");
    REQUIRE(bpe_counter_merge(counter) == 0, "no memory");
    struct bpe_trainer *trainer = bpe_trainer_new(counter, merges);
    bpe_counter_free(counter);
    REQUIRE(trainer, "no memory");
    int64_t done = 0, before = NONE;
    while (done != before) {
        before = done;
        done = bpe_trainer_run(trainer, done + step < merges ? done + step : merges);
    }
    REQUIRE(done >= 0 && done <= merges, "%lld merges", (long long)done);
    learnt[which].n = done;
    if (done) memcpy(learnt[which].pairs, bpe_trainer_pairs(trainer), (size_t)done * 2 * sizeof(int32_t));
    bpe_trainer_free(trainer);
}

static int64_t counts[TOKENS][TOKENS]; /* all 0 between calls */

/* The best pair of pieces, the most frequent and then the smallest, or NONE; pair is left * TOKENS + right. */
static int32_t best_pair(const int32_t *ids, const int64_t *ends, const int64_t *weights, int64_t n) {
    int32_t best = NONE;
    for (int again = 0; again < 2; again++)
        for (int64_t i = 0, at = 0; i < n; at = ends[i++])
            for (; at + 1 < ends[i]; at++) {
                int32_t pair = ids[at] * TOKENS + ids[at + 1];
                int64_t *count = &counts[ids[at]][ids[at + 1]];
                int64_t more = best == NONE ? 0 : counts[best / TOKENS][best % TOKENS];
                if (!again) *count += weights[i];
                else if (*count > more || (*count == more && pair < best)) best = pair;
            }
    for (int64_t i = 0, at = 0; i < n; at = ends[i++])
        for (; at + 1 < ends[i]; at++) counts[ids[at]][ids[at + 1]] = 0;
    return best;
}

/* What training must learn from pieces, ids[ends[i - 1]] to ids[ends[i]], which changes them. */
static void require_learnt(int32_t *ids, int64_t *ends, const int64_t *weights, int64_t n, int64_t merges) {
    for (int32_t k = 0; k <= merges; k++) {
        int32_t best = k < merges ? best_pair(ids, ends, weights, n) : NONE;
        int32_t left = best / TOKENS, right = best % TOKENS;
        if (best == NONE) {
            REQUIRE(learnt[0].n == k, "%lld merges, not %d", (long long)learnt[0].n, k);
            return;
        }
        REQUIRE(k < learnt[0].n && learnt[0].pairs[2 * k] == left && learnt[0].pairs[2 * k + 1] == right,
                "merge %d must be of %d and %d", k, left, right);
        int64_t to = 0;
        for (int64_t i = 0, at = 0, end; i < n; at = end, ends[i++] = to) {
            for (end = ends[i]; at < end; at++) {
                int joins = at + 1 < end && ids[at] == left && ids[at + 1] == right;
                ids[to++] = joins ? 256 + k : ids[at];
                at += joins;
            }
        }
    }
}

static void fuzz_train(void) {
    const int64_t odd[] = {1, 2, 3, 1000, INT32_MAX, (int64_t)1 << 31, ((int64_t)1 << 33) + 5, ((int64_t)3 << 31) - 1};
    int pattern = (int)choose(PIECES_PATTERNS);
    int64_t merges = choose(MERGES + 1), step = 1 + choose(4), by_piece = choose(2);
    int64_t threads = 1 + (choose(16) == 9), from = choose(256), weight = odd[choose(8)];
    int64_t size = choose(64), most = input_size;
    size = size < most ? size : most;
    uint8_t *piece = copy_of(input, size), *text = copy_of(input + size, most - size);
    int64_t n = most - size, *ends = room(n + 1, sizeof *ends), *weights = room(n + 1, sizeof *weights);
    int64_t count = ends_of(ends, pattern, text, n);
    struct bpe_text by_pattern = {.bytes = text, .n = n, .pattern = pattern};
    struct bpe_text by_ends = {.bytes = text, .n = n, .ends = ends, .n_ends = count};
    learn(0, &by_pattern, NONE, piece, size, weight, merges, merges + 1);
    int64_t cut = by_piece ? (from < count ? from : count) : from < n ? piece_cut(text, n, from) : n;
    if (threads > 1) parallel_threads(2);
    learn(1, by_piece ? &by_ends : &by_pattern, cut, piece, size, weight, merges, step);
    if (threads > 1) parallel_threads(1);
    REQUIRE(learnt[0].n == learnt[1].n && same(learnt[0].pairs, learnt[1].pairs, learnt[0].n, 8),
            "training in parts learns something else");
    if (most <= SLOW) {
        int32_t *ids = room(most, sizeof *ids);
        for (int64_t i = 0; i < n; i++) ids[i] = text[i];
        for (int64_t i = 0; i < size; i++) ids[n + i] = piece[i];
        for (int64_t i = 0; i < count; i++) weights[i] = 1;
        ends[count] = most;
        weights[count] = weight;
        require_learnt(ids, ends, weights, count + 1, merges);
        free(ids);
    }
    free(piece);
    free(text);
    free(ends);
    free(weights);
}

/* --- by name ------------------------------------------------------------------------------------------------------ */

static const struct { const char *name; void (*fuzz)(void); } targets[] = {
    {"split", fuzz_split}, {"encode", fuzz_encode}, {"merge", fuzz_merge}, {"decode", fuzz_decode},
    {"train", fuzz_train}};

void fuzz(const char *name, const uint8_t *data, int64_t size) {
    input = data;
    input_size = size;
    size_t i = 0;
    while (i < COUNT(targets) && strcmp(name, targets[i].name) != 0) i++;
    REQUIRE(i < COUNT(targets), "there is nothing called '%s' to fuzz", name);
    targets[i].fuzz();
}
