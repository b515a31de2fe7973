/* Decode ids: copy the bytes of the tokens, one after the other.
 *
 * Most tokens have at most 16 bytes. These lie in slots of 16, which one instruction copies whole; the next token
 * overwrites what was too much. Only near the end of the text is the exact number of bytes copied.
 */
#include "bpe.h"

enum { SLOT = 16 };

struct bpe_decoder {
    int64_t n;
    int32_t *lengths; /* -1 where an id is free */
    uint8_t *slots;   /* the first bytes of each token */
    int64_t *offsets;
    uint8_t *bytes;
};

static int fill(struct bpe_decoder *d, const uint8_t *bytes, const int64_t *offsets, const uint8_t *there) {
    size_t n = (size_t)d->n;
    d->lengths = malloc((n + 1) * sizeof *d->lengths);
    d->slots = calloc(n + 1, SLOT);
    d->offsets = malloc((n + 1) * sizeof *d->offsets);
    d->bytes = malloc((size_t)offsets[n] + 1);
    if (!d->lengths || !d->slots || !d->offsets || !d->bytes) return -1;
    memcpy(d->offsets, offsets, (n + 1) * sizeof *offsets);
    memcpy(d->bytes, bytes, (size_t)offsets[n]);
    for (size_t i = 0; i < n; i++) {
        int64_t length = offsets[i + 1] - offsets[i];
        if (length > INT32_MAX) return -1;
        d->lengths[i] = there[i] ? (int32_t)length : -1;
        memcpy(d->slots + SLOT * i, bytes + offsets[i], (size_t)(length < SLOT ? length : SLOT));
    }
    return 0;
}

struct bpe_decoder *bpe_decoder_new(const uint8_t *bytes, const int64_t *offsets, const uint8_t *there, int64_t n) {
    if (n < 0 || n > INT32_MAX) return NULL;
    struct bpe_decoder *decoder = calloc(1, sizeof *decoder);
    if (!decoder) return NULL;
    decoder->n = n;
    if (fill(decoder, bytes, offsets, there) == 0) return decoder;
    bpe_decoder_free(decoder);
    return NULL;
}

void bpe_decoder_free(struct bpe_decoder *decoder) {
    if (!decoder) return;
    free(decoder->lengths);
    free(decoder->slots);
    free(decoder->offsets);
    free(decoder->bytes);
    free(decoder);
}

int64_t bpe_decoded_size(const struct bpe_decoder *decoder, const int32_t *ids, int64_t n) {
    int64_t size = 0;
    for (int64_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= decoder->n || decoder->lengths[ids[i]] < 0) return -1;
        size += decoder->lengths[ids[i]];
    }
    return size;
}

int bpe_decode(uint8_t *out, int64_t size, const struct bpe_decoder *decoder, const int32_t *ids, int64_t n) {
    const uint8_t *end = out + size;
    for (int64_t i = 0; i < n; i++) {
        int64_t id = ids[i]; /* read once: somebody else may change the array meanwhile */
        if ((uint64_t)id >= (uint64_t)decoder->n) return -1;
        uint64_t length = (uint64_t)(int64_t)decoder->lengths[id]; /* of a free id more than any text */
        if (length <= SLOT && end - out >= SLOT) memcpy(out, decoder->slots + SLOT * id, SLOT);
        else if (length > (uint64_t)(end - out)) return -1;
        else memcpy(out, decoder->bytes + decoder->offsets[id], (size_t)length);
        out += length;
    }
    return out == end ? 0 : -1;
}
