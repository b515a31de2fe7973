/* Cut a text into pieces before byte pair encoding: the patterns of ops/pieces.py, as loops over UTF-8 (pieces.c). */
#ifndef TINYLLM_PIECES_H
#define TINYLLM_PIECES_H

#include <stdint.h>

enum { PIECES_GPT2, PIECES_GPT4, PIECES_O200K, PIECES_PATTERNS };

/* Write the ends of up to `most` pieces, the first of which starts at `at`; return how many there were. `at` must be a
 * piece boundary: 0 or an earlier result. */
int64_t piece_ends(int64_t *ends, int64_t most, int pattern, const uint8_t *text, int64_t n, int64_t at);

/* The first place >= from, inside the text, where it can be cut in two that are then split apart, by any pattern,
 * whatever precedes text[0] and follows text[n - 1]; n if there is none. */
int64_t piece_cut(const uint8_t *text, int64_t n, int64_t from);

/* The class of each of the `count` characters from `first` on (UPPER, LOWER, ... of unicode_tables.h, 0 where there is
 * no such character). */
void piece_classes(uint8_t *classes, int64_t first, int64_t count);

#endif
