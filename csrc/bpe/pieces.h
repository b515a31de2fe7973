/* Declare how a text is cut into pieces before byte pair encoding, by the patterns of ops/pieces.py. */
#ifndef TINYLLM_PIECES_H
#define TINYLLM_PIECES_H

#include <stdint.h>

enum { PIECES_GPT2, PIECES_GPT4, PIECES_O200K, PIECES_QWEN2 };

/* Write the ends of up to `most` pieces; return how many there are. The first begins at `at`, which must be 0 or an end
 * that an earlier call found. */
int64_t bpe_piece_ends(int64_t *ends, int64_t most, int pattern, const uint8_t *text, int64_t n, int64_t at);

/* Return the first place >= start where the text can be cut so that any pattern splits both sides as it splits the
 * whole, whatever comes before text[0] and after text[n - 1]; n if there is no such place. */
int64_t bpe_piece_cut(const uint8_t *text, int64_t n, int64_t start);

/* Write the class (UPPER, LOWER ... of unicode_tables.h) of each of the `count` characters from `first` on; 0 where
 * there is no such character. */
void bpe_piece_classes(uint8_t *classes, int64_t first, int64_t count);

#endif
