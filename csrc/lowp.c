/* round_bf16: keep the top 16 bits of a float32, rounded to nearest, ties to even.
 *
 * Half a unit of what is kept is 0x8000. Adding 0x7fff and the last kept bit carries into the top half exactly
 * when the rest is more than half, or half and the last kept bit is odd. Infinity has a zero mantissa and stays, and
 * what is too large carries into it. A NaN could carry too, and then be a zero or an infinity; it gets its quiet bit
 * instead. The spec does this in eight passes over memory; here it is one.
 */

struct lowp_job { float *y; const float *x; };

INLINE v16 v_round_bf16(v16 x) {
    i16 bits = v_bits(x);
    i16 odd = i_and(i_shift_right(bits, 16), i_set(1));
    i16 rounded = i_add(i_add(bits, i_set(0x7fff)), odd);
    i16 quiet = i_or(bits, i_set(0x00400000));
    i16 chosen = v_bits(v_select(v_equal(x, x), i_float(rounded), i_float(quiet)));
    return i_float(i_and(chosen, i_set((int32_t)0xffff0000)));
}

static void lowp_piece(void *context, int64_t begin, int64_t end) {
    const struct lowp_job *job = context;
    int64_t i = begin;
    for (; i + 16 <= end; i += 16) v_store(job->y + i, v_round_bf16(v_load(job->x + i)));
    if (i < end) v_store_n(job->y + i, end - i, v_round_bf16(v_load_n(job->x + i, end - i, 0)));
}

static void round_bf16(float *y, const float *x, int64_t n) {
    struct lowp_job job = {.y = y, .x = x};
    parallel_for(lowp_piece, &job, n, 16384);
}
