/* Transpose small blocks, for kernels with an operand that is contiguous along the summed axis. */

/* Load four numbers of each of the rows 0, 4, 8, ... of `from`, LANES numbers in all, into one register. */
INLINE vec deinterleave4(const float *from, int64_t row) {
    vec4 part[LANES / 4];
    for (int i = 0; i < LANES / 4; i++) memcpy(&part[i], from + 4 * i * row, 16);
#if LANES == 4
    return part[0];
#elif LANES == 8
    return __builtin_shufflevector(part[0], part[1], 0, 1, 2, 3, 4, 5, 6, 7);
#else
    return VEC_QUARTERS(part);
#endif
}

#if LANES == 4
#define QUARTERS(x, y, a, b, c, d) __builtin_shufflevector(x, y, a, b, 4 + c, 4 + d)
#elif LANES == 8
#define QUARTERS(x, y, a, b, c, d) __builtin_shufflevector(x, y, a, b, 8 + c, 8 + d, 4 + a, 4 + b, 12 + c, 12 + d)
#else
#define QUARTERS(x, y, a, b, c, d)                                                                                    \
    __builtin_shufflevector(x, y, a, b, 16 + c, 16 + d, 4 + a, 4 + b, 20 + c, 20 + d, 8 + a, 8 + b, 24 + c, 24 + d,    \
                            12 + a, 12 + b, 28 + c, 28 + d)
#endif

/* Load columns 0 .. 3 of sixteen rows: column[k][m] = from[m][k]. 4 x 4 numbers are transposed at a time. */
INLINE void transpose16(v16 column[4], const float *from, int64_t row) {
    EACH(p) {
        vec r[4], s[4];
        for (int i = 0; i < 4; i++) r[i] = deinterleave4(from + (p * LANES + i) * row, row);
        s[0] = QUARTERS(r[0], r[1], 0, 1, 0, 1);
        s[1] = QUARTERS(r[2], r[3], 0, 1, 0, 1);
        s[2] = QUARTERS(r[0], r[1], 2, 3, 2, 3);
        s[3] = QUARTERS(r[2], r[3], 2, 3, 2, 3);
        column[0].part[p] = QUARTERS(s[0], s[1], 0, 2, 0, 2);
        column[1].part[p] = QUARTERS(s[0], s[1], 1, 3, 1, 3);
        column[2].part[p] = QUARTERS(s[2], s[3], 0, 2, 0, 2);
        column[3].part[p] = QUARTERS(s[2], s[3], 1, 3, 1, 3);
    }
}

/* Set to[k][m] = from[m][k] for `rows` rows m and `depth` columns k, sixteen rows at a time. Columns of `to` from
 * `rows` up to `width` are filled with zeros. */
static void transpose_into(float *restrict to, int64_t to_row, const float *from, int64_t from_row, int64_t rows,
                           int64_t depth, int64_t width) {
    int64_t m = 0;
    for (; m + 16 <= rows; m += 16) {
        const float *f = from + m * from_row;
        int64_t k = 0;
        for (; k + 4 <= depth; k += 4) {
            v16 column[4];
            for (int i = 0; i < 16 && k % 16 == 0; i++) prefetch_beyond(f, (16 + i) * from_row + k);
            transpose16(column, f + k, from_row);
            for (int i = 0; i < 4; i++) v_store(to + (k + i) * to_row + m, column[i]);
        }
        for (; k < depth; k++)
            for (int i = 0; i < 16; i++) to[k * to_row + m + i] = f[i * from_row + k];
    }
    for (; m < rows; m++)
        for (int64_t k = 0; k < depth; k++) to[k * to_row + m] = from[m * from_row + k];
    for (; m < width; m++)
        for (int64_t k = 0; k < depth; k++) to[k * to_row + m] = 0.0f;
}

/* Compute the dot products of `turned_sums` with bfloat16 numbers: b_row is even, and depth a multiple of eight. Two
 * neighbours are transposed as if they were one float; then the lower half of each lane is the first, the upper the
 * second. So this takes half the instructions, and has the same bits. */
INLINE void turned_halves(int rows, v16 *sum, const float *a, int64_t a_row, const uint16_t *b, int64_t b_row,
                          int64_t depth) {
    for (int m = 0; m < rows; m++) sum[m] = v_set(0.0f);
    for (int64_t k = 0; k < depth; k += 8) {
        v16 pair[4];
        transpose16(pair, (const float *)(const void *)(b + k), b_row / 2);
        for (int i = 0; i < 8; i++) {
            i16 bits = v_bits(pair[i / 2]);
            v16 column = i_float(i % 2 ? i_and(bits, i_set((int32_t)0xffff0000)) : i_shift_left(bits, 16));
            for (int m = 0; m < rows; m++) sum[m] = v_fma(v_set(a[m * a_row + k + i]), column, sum[m]);
        }
    }
}

/* Compute in sum[m] the dot products of row m of a with sixteen rows of b, which lie b_row apart. b is transposed in
 * registers, so that one register has all terms for one k. `rows` is a constant where this is inlined; `next` is the
 * address of the sixteen rows that are read next, or 0. */
INLINE void turned_sums(int rows, v16 *sum, const float *a, int64_t a_row, int64_t a_col, const float *b, int64_t b_row,
                        int64_t depth, uintptr_t next) {
    int64_t k = 0;
    for (int m = 0; m < rows; m++) sum[m] = v_set(0.0f);
    for (; k + 4 <= depth; k += 4) {
        v16 column[4];
        for (int i = 0; i < 16 && k % 16 == 0 && next; i++) prefetch_far_beyond((const float *)next, i * b_row + k);
        transpose16(column, b + k, b_row);
        for (int i = 0; i < 4; i++)
            for (int m = 0; m < rows; m++)
                sum[m] = v_fma(v_set(a[m * a_row + (k + i) * a_col]), column[i], sum[m]);
    }
    for (; k < depth; k++) {
        float column[16];
        for (int n = 0; n < 16; n++) column[n] = b[n * b_row + k];
        for (int m = 0; m < rows; m++) sum[m] = v_fma(v_set(a[m * a_row + k * a_col]), v_load(column), sum[m]);
    }
}
