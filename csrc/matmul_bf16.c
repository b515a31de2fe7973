/* matmul_bf16: matmul of operands rounded to bfloat16, summed in float32. This is the form for any CPU: it rounds both
 * operands into memory of the pool and multiplies as always, so a product costs as much as in float32.
 * level_avx512bf16.c has the form for CPUs that multiply bfloat16 themselves, twice as fast.
 *
 * Bits: the same for every number of threads and every batch, as in matmul; not the same on both forms, because the
 * instruction adds its two products in an order of its own.
 */

static int matmul_bf16(float *c, const float *a, const float *b, const float *bias, int64_t stack, int64_t rows,
                       int64_t columns, int64_t depth, int64_t a_stack, int64_t b_stack, int a_transposed,
                       int b_transposed) {
    int64_t a_size = (a_stack ? stack : 1) * rows * depth, b_size = (b_stack ? stack : 1) * depth * columns;
    float *left = pool_take((size_t)(a_size + b_size) * sizeof *left);
    if (!left) return -1;
    round_bf16(left, a, a_size);
    round_bf16(left + a_size, b, b_size);
    int failed = matmul(c, left, left + a_size, bias, stack, rows, columns, depth, a_stack, b_stack, a_transposed,
                        b_transposed);
    pool_give(left);
    return failed;
}
