/* Drives csrc/bpe without Python, so that sanitizers can watch: what fuzz_tokenizer.c checks, on drawn inputs and with one
 * to three threads. Most texts are short; some are so long that they are cut into parts.
 */
#include "fuzz.h"

enum { SHORT = 64, LONG = 300000, CHOICES = 160 };

static uint64_t state = 88172645463325252u; /* Marsaglia's xorshift */
static int64_t draw(int64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (int64_t)(state % (uint64_t)below);
}

static const char *only; /* the name of the one check to run, or NULL */

/* Choices, and then a text of parts, some of them cut off, in which a few parts come again and again. */
static void run(const char *name, int64_t most) {
    static const char *const parts[] = {
        "a", "S", "l", "'", "'s", "'LL", "'\xc5\xbf", "1", " ", "\t", "\n", "\r", "/", "!", "\xc3\xa9", "\xca\xb0",
        "\xcc\x81", "\xc2\xa0", "\xc2\x85", "\xd9\xa3", "\xe4\xb8\xad", "\xe3\x80\x80", "\xe2\x80\x8b",
        "\xf0\x9f\x98\x80", "\xf0\x9d\x9f\x99", "\xff", "\x80", "\xc0\xaf", "\xed\xa0\x80",
        "\xf4\x90\x80\x80", "\xf4\x8f\xbf\xbf", "ab", "abc  \n", "the cat's 12 mats",
    };
    if (only && strcmp(only, name) != 0) return;
    static uint8_t data[CHOICES + LONG + SHORT];
    int64_t n = draw(CHOICES), wanted = n + draw(most);
    int64_t some = 1 + draw(COUNT(parts)), first = draw(COUNT(parts));
    for (int64_t i = 0; i < n; i++) data[i] = (uint8_t)draw(256);
    while (n < wanted) {
        const char *part = parts[(first + draw(some)) % (int64_t)COUNT(parts)];
        size_t length = draw(16) ? strlen(part) : 1;
        memcpy(data + n, part, length);
        n += (int64_t)length;
    }
    parallel_threads(1 + (int)draw(3));
    fuzz(name, data, n);
}

int main(int count, char **words) {
    int part = count > 1 ? atoi(words[1]) : 1; /* of all the runs, one in so many */
    only = count > 2 ? words[2] : NULL;
    uint8_t classes[3];
    piece_classes(classes, 0x10fffe, 3);
    REQUIRE(classes[0] && classes[1] && !classes[2], "U+10FFFF is the last character");
    for (int i = 0; i < 4000 / part; i++) run("split", SHORT);
    for (int i = 0; i < 400 / part; i++) run("encode", 10 * SHORT), run("merge", 10 * SHORT), run("decode", 10 * SHORT);
    for (int i = 0; i < 60 / part; i++) run("train", 10 * SHORT);
    for (int i = 0; i < 6 / part; i++) run("encode", LONG), run("train", LONG);
    parallel_threads(1);
    pool_empty();
    return 0;
}
