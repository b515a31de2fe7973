/* Find the ends of pieces as the regular expressions of GPT-2, GPT-4, o200k and Qwen do, by loops over UTF-8.
 *
 * A regular expression tries its alternatives in order, and the greedy parts of each in turn; but all parts here are
 * runs of characters of some class (unicode_tables.h), so the end of a run says at once what backtracking would find:
 *   - a run of letters, numbers or other characters: nothing can follow that the run has not taken;
 *   - \s*[\r\n]+ ends after the last newline of the white space, \s+(?!\S) before its last character, or after it at
 *     the end of the text, and \s+ then matches only single characters;
 *   - o200k's words, capitals* small+ | capitals+ small*, where caseless letters and marks count as both: see `word`.
 * No run is read more than three times in all, so the time is linear on any text, and nothing recurses.
 *
 * A byte that belongs to no character counts as a character of class OTHER, as in the specification, where Python's
 * surrogateescape decodes it to a lone surrogate. Characters are what Python's decoder accepts: no overlong forms,
 * no surrogates, nothing beyond U+10FFFF.
 *
 * Speed: `regex` interprets its pattern for each character, at 10 MB/s; this looks up classes in a table, and runs of
 * ASCII stay in the inner loop of `run`. The pattern is a constant in each copy of `piece`.
 */
#include "pieces.h"
#include "unicode_tables.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    LETTER = UPPER | LOWER | CASELESS,
    BIG = UPPER | CASELESS | MARK, /* of a word of o200k */
    SMALL = LOWER | CASELESS | MARK,
    SIGN = OTHER | MARK, /* [^\s\p{L}\p{N}] */
    BLANK = SPACE | NEWLINE,
};

/* --- characters ------------------------------------------------------------------------------------------------ */

struct character { unsigned is; int size; }; /* its class, and its number of bytes: 1 if it is invalid */

INLINE unsigned class_of(uint32_t c) { return unicode_class[128 * unicode_block[c / 128] + c % 128]; }
INLINE int continues(uint8_t byte) { return (byte & 0xc0) == 0x80; }

/* Decode a character whose first byte is not ASCII. */
static struct character wide(const uint8_t *s, int64_t left) {
    const struct character none = {OTHER, 1};
    uint32_t lead = s[0];
    if (lead < 0xc2 || lead > 0xf4 || left < 2 || !continues(s[1])) return none;
    uint32_t c = (lead & 0x1f) << 6 | (s[1] & 0x3f);
    if (lead < 0xe0) return (struct character){class_of(c), 2};
    if (left < 3 || !continues(s[2])) return none;
    c = (lead & 0x0f) << 12 | (uint32_t)(s[1] & 0x3f) << 6 | (s[2] & 0x3f);
    if (lead < 0xf0) return c < 0x800 || (c >= 0xd800 && c < 0xe000) ? none : (struct character){class_of(c), 3};
    if (left < 4 || !continues(s[3])) return none;
    c = (lead & 0x07) << 18 | (uint32_t)(s[1] & 0x3f) << 12 | (uint32_t)(s[2] & 0x3f) << 6 | (s[3] & 0x3f);
    return c < 0x10000 || c > 0x10ffff ? none : (struct character){class_of(c), 4};
}

/* Decode the character at `at`; past the end, return class 0. */
INLINE struct character decode_at(const uint8_t *text, int64_t n, int64_t at) {
    if (at >= n) return (struct character){0, 0};
    unsigned is = unicode_byte[text[at]];
    return is ? (struct character){is, 1} : wide(text + at, n - at);
}

/* Return the end of the run of characters of these classes that starts at `at`; `at` if there is no run. */
INLINE int64_t run(unsigned classes, const uint8_t *text, int64_t n, int64_t at) {
    for (;;) {
        while (at < n && unicode_byte[text[at]] & classes) at++;
        if (at >= n || text[at] < 0x80) return at;
        struct character c = wide(text + at, n - at);
        if (!(c.is & classes)) return at;
        at += c.size;
    }
}

/* --- parts of the patterns ------------------------------------------------------------------------------------- */

/* Match '(?:[sdmt]|ll|ve|re), in GPT-2 only small letters: return the end, or `at`. U+017F, the long s, matches s. */
INLINE int64_t contraction(int pattern, const uint8_t *text, int64_t n, int64_t at) {
    uint8_t fold = pattern == PIECES_GPT2 ? 0 : 0x20; /* the bit that makes an ASCII letter small */
    if (n - at < 2 || text[at] != '\'') return at;
    uint8_t a = text[at + 1] | fold;
    if (a == 's' || a == 'd' || a == 'm' || a == 't') return at + 2;
    if (n - at < 3) return at;
    uint8_t b = text[at + 2] | fold;
    if ((a == 'l' && b == 'l') || ((a == 'v' || a == 'r') && b == 'e')) return at + 3;
    return fold && text[at + 1] == 0xc5 && text[at + 2] == 0xbf ? at + 3 : at;
}

/* Match \s*[\r\n]+|\s+(?!\S)|\s+ at `at`, where white space begins; return the end. GPT-2 lacks the first. */
INLINE int64_t blanks(int pattern, const uint8_t *text, int64_t n, int64_t at) {
    int64_t end = at, last = at, behind_newline = at;
    for (struct character c; (c = decode_at(text, n, end)).is & BLANK;) {
        last = end;
        end += c.size;
        if (c.is & NEWLINE) behind_newline = end;
    }
    if (pattern != PIECES_GPT2 && behind_newline > at) return behind_newline;
    return end == n || last == at ? end : last;
}

/* Match BIG*SMALL+, else BIG+SMALL*: return the end, or `at` if there is no word. `capitals`: it was the second form.
 *
 * BIG* takes the whole run. If LOWER follows, SMALL+ goes on from there. If not, BIG* gives back characters until
 * SMALL+ finds one, which is the last CASELESS or MARK of the run: all after it are UPPER. If there is none, the
 * first form fails, and the second takes the run, which is UPPER throughout. So what is given back is read only once
 * more. */
INLINE int64_t word(const uint8_t *text, int64_t n, int64_t at, int *capitals) {
    int64_t end = at, behind_both = at;
    for (;;) {
        end = run(UPPER, text, n, end);
        struct character c = decode_at(text, n, end);
        if (c.is & LOWER) return run(SMALL, text, n, end + c.size);
        if (!(c.is & BIG)) break;
        behind_both = end += c.size;
    }
    *capitals = behind_both == at;
    return *capitals ? end : behind_both;
}

/* Match [^\r\n\p{L}\p{N}]?word(?i:'s|'t|'re|'ve|'m|'ll|'d)?, where c is the character at `at`: return the end, or `at`.
 *
 * BIG*SMALL+ also matches a mark alone; this is tried before BIG+SMALL* is tried after the mark. */
INLINE int64_t whole_word(const uint8_t *text, int64_t n, int64_t at, struct character c) {
    int capitals = 0;
    int64_t start = c.is & LETTER ? at : at + c.size, end = word(text, n, start, &capitals);
    if (c.is & MARK && (end == start || capitals)) end = start;
    else if (end == start) return at;
    return contraction(PIECES_O200K, text, n, end);
}

/* Match [^\s\p{L}\p{N}]+[\r\n]*, or [\r\n/]* in o200k: return the end. */
INLINE int64_t signs(int pattern, const uint8_t *text, int64_t n, int64_t at) {
    at = run(SIGN, text, n, at);
    while (at < n && (text[at] == '\n' || text[at] == '\r' || (pattern == PIECES_O200K && text[at] == '/'))) at++;
    return at;
}

/* --- pieces ---------------------------------------------------------------------------------------------------- */

INLINE int64_t gpt2(const uint8_t *text, int64_t n, int64_t at) {
    int64_t end = contraction(PIECES_GPT2, text, n, at);
    if (end > at) return end;
    int64_t start = at + (text[at] == ' ');
    struct character c = decode_at(text, n, start);
    if (c.is & LETTER) return run(LETTER, text, n, start + c.size);
    if (c.is & NUMBER) return run(NUMBER, text, n, start + c.size);
    if (c.is & SIGN) return run(SIGN, text, n, start + c.size);
    return blanks(PIECES_GPT2, text, n, at);
}

INLINE int64_t numbers(int pattern, const uint8_t *text, int64_t n, int64_t at) { /* \p{N}{1,3}, in Qwen \p{N} */
    struct character c;
    int most = pattern == PIECES_QWEN2 ? 1 : 3;
    for (int i = 0; i < most && (c = decode_at(text, n, at)).is & NUMBER; i++) at += c.size;
    return at;
}

INLINE int64_t gpt4(int pattern, const uint8_t *text, int64_t n, int64_t at) {
    struct character c = decode_at(text, n, at);
    if (c.is & NUMBER) return numbers(pattern, text, n, at);
    if (pattern == PIECES_O200K) {
        int64_t end = c.is & NEWLINE ? at : whole_word(text, n, at, c);
        if (end > at) return end;
    } else {
        int64_t end = contraction(PIECES_GPT4, text, n, at);
        if (end > at) return end;
        if (!(c.is & NEWLINE)) {
            int64_t start = c.is & LETTER ? at : at + c.size;
            end = run(LETTER, text, n, start);
            if (end > start) return end;
        }
    }
    if (c.is & SIGN) return signs(pattern, text, n, at);
    if (text[at] == ' ' && decode_at(text, n, at + 1).is & SIGN) return signs(pattern, text, n, at + 1);
    return blanks(pattern, text, n, at);
}

INLINE int64_t piece(int pattern, const uint8_t *text, int64_t n, int64_t at) {
    return pattern == PIECES_GPT2 ? gpt2(text, n, at) : gpt4(pattern, text, n, at);
}

INLINE int64_t ends_of(int64_t *ends, int64_t most, int pattern, const uint8_t *text, int64_t n, int64_t at) {
    int64_t count = 0;
    while (at < n && count < most) ends[count++] = at = piece(pattern, text, n, at);
    return count;
}

int64_t bpe_piece_ends(int64_t *ends, int64_t most, int pattern, const uint8_t *text, int64_t n, int64_t at) {
    switch (pattern) {
    case PIECES_GPT2: return ends_of(ends, most, PIECES_GPT2, text, n, at);
    case PIECES_GPT4: return ends_of(ends, most, PIECES_GPT4, text, n, at);
    case PIECES_O200K: return ends_of(ends, most, PIECES_O200K, text, n, at);
    default: return ends_of(ends, most, PIECES_QWEN2, text, n, at);
    }
}

/* --- cuts ------------------------------------------------------------------------------------------------------ */

/* Return 1 if no alternative of any pattern can match a character a and the character b after it together, wherever it
 * starts. Then a piece ends between them. Nor does any pattern look at b before: the only part that looks beyond its
 * piece, (?!\S), comes after white space, and a is not white space. So the two sides can be split separately.
 *
 * The alternatives of all patterns match only these characters next to each other:
 *   from a letter to a letter, a mark or ' (in a word, and to its contraction),   from a number to a number,
 *   from any but a letter or number to a letter or mark (the start of a word),    from a sign to a sign or newline,
 *   from white space to white space, and from ' ' to a number or a sign.
 * No cut is made after white space, nor beside an invalid byte, because bytes outside of the text may complete it. */
static int is_boundary(unsigned a, unsigned b, uint8_t first) {
    unsigned well = a & LETTER ? BLANK | NUMBER | (first == '\'' ? 0u : OTHER)
                    : a & NUMBER ? (LETTER | SIGN | BLANK)
                    : a & SIGN   ? (SPACE | NUMBER)
                                 : 0u;
    return (b & well) != 0;
}

int64_t bpe_piece_cut(const uint8_t *text, int64_t n, int64_t start) {
    /* `at` may start inside a character: then it moves byte by byte, at most three times, to the next character. */
    int64_t at = start > 4 ? start - 4 : 0;
    struct character a = {0, 0}, b;
    for (; at < n; at += b.size, a = b) {
        b = decode_at(text, n, at);
        if (text[at] >= 0x80 && b.size == 1) b.is = 0;
        if (at >= start && is_boundary(a.is, b.is, text[at])) return at;
    }
    return n;
}

void bpe_piece_classes(uint8_t *classes, int64_t first, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        classes[i] = first + i < 0 || first + i > 0x10ffff ? 0 : (uint8_t)class_of((uint32_t)(first + i));
}
