/* Drives pieces.c without Python: every piece ends behind its start and inside the text, one at a time as in bulk, and
 * both sides of a cut have the pieces of the whole. Every text lies in a malloc of its own size, where a sanitizer sees
 * a byte too many. What the pieces must be is the matter of test_pieces.py.
 */
#include "csrc_require.h"
#include "pieces.h"

#include <string.h>

enum { TEXTS = 40000, LONGEST = 64 };

static uint64_t state = 1;

static uint64_t next(void) { /* SplitMix64 */
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* A text of parts, some of them cut off, in which a few parts come again and again. */
static uint8_t *draw(int64_t *n) {
    static const char *const parts[] = {
        "a", "S", "l", "'", "'s", "'LL", "'\xc5\xbf", "1", " ", "\t", "\n", "\r", "/", "!", "\xc3\xa9", "\xca\xb0",
        "\xcc\x81", "\xc2\xa0", "\xc2\x85", "\xd9\xa3", "\xe4\xb8\xad", "\xe3\x80\x80", "\xe2\x80\x8b",
        "\xf0\x9f\x98\x80", "\xf0\x9d\x9f\x99", "\xff", "\x80", "\xc0\xaf", "\xed\xa0\x80",
        "\xf4\x90\x80\x80", "\xf4\x8f\xbf\xbf",
    };
    uint8_t longest[LONGEST + 4];
    int64_t wanted = (int64_t)(next() % LONGEST);
    uint64_t some = 1 + next() % COUNT(parts), first = next() % COUNT(parts);
    for (*n = 0; *n < wanted;) {
        const char *part = parts[(first + next() % some) % COUNT(parts)];
        size_t length = strlen(part);
        if (next() % 16 == 0) length = 1;
        memcpy(longest + *n, part, length);
        *n += (int64_t)length;
    }
    uint8_t *text = malloc((size_t)*n);
    if (*n) memcpy(text, longest, (size_t)*n);
    return text;
}

static void check_ends(int pattern, const uint8_t *text, int64_t n, int64_t *ends, int64_t *count) {
    int64_t at = 0, few[3], most = 1 + (int64_t)(next() % 3);
    for (*count = 0; at < n; ends[(*count)++] = at) {
        int64_t end = piece_end(pattern, text, n, at);
        REQUIRE(end > at && end <= n, "pattern %d: a piece from %lld to %lld of %lld", pattern, (long long)at,
                (long long)end, (long long)n);
        at = end;
    }
    at = 0;
    for (int64_t done = 0, got; done < *count; done += got, at = ends[done - 1]) {
        got = piece_ends(few, most, pattern, text, n, at);
        REQUIRE(got == (most < *count - done ? most : *count - done), "%lld ends at once", (long long)got);
        REQUIRE(!memcmp(few, ends + done, (size_t)got * sizeof *few), "other ends when several are asked for");
    }
    REQUIRE(piece_ends(few, most, pattern, text, n, n) == 0, "a piece behind the end");
}

static void check_cut(int pattern, const uint8_t *text, int64_t n, int64_t from) {
    int64_t whole[LONGEST + 4], side[LONGEST + 4], count, before = 0, after = 0, cut = piece_cut(text, n, from);
    REQUIRE(cut == n || (cut > 0 && cut >= from && cut < n), "a cut at %lld", (long long)cut);
    check_ends(pattern, text, n, whole, &count);
    check_ends(pattern, text, cut, side, &before);
    REQUIRE(!memcmp(whole, side, (size_t)before * sizeof *whole), "a cut that changes what is before it");
    if (cut < n) check_ends(pattern, text + cut, n - cut, side, &after);
    REQUIRE(before + after == count, "a cut that changes what is behind it");
    for (int64_t i = 0; i < after; i++)
        REQUIRE(whole[before + i] == cut + side[i], "a cut that changes what is behind it");
}

int main(void) {
    for (int i = 0; i < TEXTS; i++) {
        int64_t n;
        uint8_t *text = draw(&n);
        for (int pattern = 0; pattern < PIECES_PATTERNS; pattern++)
            check_cut(pattern, text, n, (int64_t)(next() % (LONGEST + 8)));
        free(text);
    }
    uint8_t classes[3];
    piece_classes(classes, 0x10fffe, 3);
    REQUIRE(classes[0] && classes[1] && !classes[2], "U+10FFFF is the last character");
    return 0;
}
