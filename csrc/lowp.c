/* round_bf16: keep the top 16 bits of a float32, rounded to nearest, ties to even.
 *
 * The last kept bit is worth 0x10000, and half of that is 0x8000. Adding 0x7fff and the last kept bit carries into the
 * top half exactly when the lower half is more than 0x8000, or is 0x8000 and the last kept bit is 1. Infinity stays,
 * and a number that is too large becomes infinity. A NaN could carry too, and become 0 or infinity; instead its quiet
 * bit is set. The spec does this in eight passes over memory; here it is one.
 */

INLINE v16 v_round_bf16(v16 x) {
    i16 bits = v_bits(x);
    i16 odd = i_and(i_shift_right(bits, 16), i_set(1));
    i16 rounded = i_add(i_add(bits, i_set(0x7fff)), odd);
    i16 quiet = i_or(bits, i_set(0x00400000));
    i16 chosen = v_bits(v_select(v_equal(x, x), i_float(rounded), i_float(quiet)));
    return i_float(i_and(chosen, i_set((int32_t)0xffff0000)));
}

UNARY(round_bf16, v_round_bf16(x))

/* matmul_bf16: matmul of operands rounded to bfloat16, summed in float32. This version is for any CPU: it rounds both
 * operands into memory of the pool and calls matmul, so a product takes as long as in float32. CPUs that multiply
 * bfloat16 have the version in level_avx512bf16.c, which is twice as fast.
 *
 * Bits: the same for every number of threads and every batch, as in matmul; the two versions differ, because the
 * instruction adds its two products in an order of its own.
 */
static int matmul_bf16(float *c, float *act_out, const float *a, const float *b, const float *bias, int64_t stack,
                       int64_t rows, int64_t columns, int64_t depth, int64_t a_stack, int64_t b_stack, int a_transposed,
                       int b_transposed) {
    int64_t a_size = (a_stack ? stack : 1) * rows * depth, b_size = (b_stack ? stack : 1) * depth * columns;
    float *left = pool_take((size_t)(a_size + b_size) * sizeof *left);
    if (!left) return -1;
    round_bf16(left, a, a_size);
    round_bf16(left + a_size, b, b_size);
    int failed = matmul(c, act_out, left, left + a_size, bias, stack, rows, columns, depth, a_stack, b_stack,
                        a_transposed, b_transposed);
    pool_give(left);
    return failed;
}
