# Declare the functions of csrc/bpe/bpe.h for Cython, in the same order.
from libc.stdint cimport int32_t, int64_t, uint8_t

cdef extern from "bpe/bpe.h" nogil:
    struct bpe_text:
        const uint8_t *bytes
        int64_t n
        int pattern
        const int64_t *ends
        int64_t n_ends
    struct bpe_part:
        int64_t text, begin, end, count
        int32_t *ids
    int bpe_cut(bpe_part **parts, int64_t *n, const bpe_text *texts, int64_t n_texts)
    void bpe_parts_free(bpe_part *parts, int64_t n)
    struct bpe_vocab:
        pass
    bpe_vocab *bpe_vocab_new(const int32_t *byte_ids, const int32_t *left, const int32_t *right, const int32_t *made,
                             const int32_t *rank, int64_t n_pairs, const uint8_t *bytes, const int64_t *offsets,
                             const int32_t *numbers, int64_t n_tokens, int whole)
    void bpe_vocab_free(bpe_vocab *vocab)
    struct bpe_encoder:
        pass
    bpe_encoder *bpe_encoder_new(const bpe_vocab *vocab)
    void bpe_encoder_free(bpe_encoder *encoder)
    int bpe_encode_parts(bpe_encoder *encoder, const bpe_text *texts, bpe_part *parts, int64_t first, int64_t last)
    enum: BPE_SPARE
    int64_t bpe_encode_short(bpe_encoder *encoder, const bpe_text *text, int32_t *ids)
    int64_t bpe_merge_ids(const bpe_vocab *vocab, int32_t *ids, int64_t n)
    struct bpe_decoder:
        pass
    bpe_decoder *bpe_decoder_new(const uint8_t *bytes, const int64_t *offsets, const uint8_t *there, int64_t n)
    void bpe_decoder_free(bpe_decoder *decoder)
    int64_t bpe_decoded_size(const bpe_decoder *decoder, const void *ids, int64_t n, int wide)
    int bpe_decode(uint8_t *out, int64_t size, const bpe_decoder *decoder, const void *ids, int64_t n, int wide)
    struct bpe_counter:
        pass
    bpe_counter *bpe_counter_new()
    void bpe_counter_free(bpe_counter *counter)
    int bpe_count_parts(bpe_counter *counter, const bpe_text *texts, const bpe_part *parts, int64_t first,
                        int64_t last)
    int bpe_count_one(bpe_counter *counter, const uint8_t *piece, int64_t n, int64_t count)
    int bpe_counter_merge(bpe_counter *counter)
    struct bpe_trainer:
        pass
    bpe_trainer *bpe_trainer_new(const bpe_counter *counter, int64_t most_merges)
    void bpe_trainer_free(bpe_trainer *trainer)
    int64_t bpe_trainer_run(bpe_trainer *trainer, int64_t merges)
    const int32_t *bpe_trainer_pairs(const bpe_trainer *trainer)
    int64_t bpe_trainer_count(const bpe_trainer *trainer)
