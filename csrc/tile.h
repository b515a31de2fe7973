/* The micro-kernel: a small matrix product whose outputs live in registers.
 *
 *     c[m][n] (+)= sum over k of a[m][k] * b[k][n],      m < ROWS, n < COLUMNS
 *
 * Each step multiplies ROWS values of a, each copied to all lanes of a register, by a row of b: ROWS x COLUMNS products
 * for ROWS + COLUMNS loads. The block is as large as the register file allows, so that the two multiply-add units, not
 * the loads, are the limit. Every output is summed in one lane, in the order of k, so the result does not depend on the
 * block's shape or its place in the matrix.
 */
#if LANES == 16
enum { ROWS = 12, REGISTERS = 2 }; /* 24 accumulators of 32 registers */
#elif LANES == 8
enum { ROWS = 6, REGISTERS = 2 };  /* 12 of 16 */
#else
enum { ROWS = 6, REGISTERS = 4 };  /* 24 of 32 */
#endif
enum { COLUMNS = REGISTERS * LANES };

/* The multiply-add of the micro-kernel. A file may define another one before it includes this. */
#ifndef TILE_FMA
#define TILE_SPREAD(p) vec_set(*(p))
#define TILE_FMA(a, b, c) vec_fma(a, b, c)
#endif

/* a[m][k] is a[m * a_row + k * a_col]. Adds to c if `add`, else overwrites it; then adds `bias` to every row, if there
 * is one. `rows` and `registers` (of columns) are constants where this is inlined, so the loops over them unroll. */
INLINE void micro(int rows, int registers, float *c, int64_t c_row, const float *a, int64_t a_row, int64_t a_col,
                  const float *b, int64_t b_row, int64_t depth, int add, const float *bias) {
    vec sum[ROWS][REGISTERS];
    /* Prefetch what is needed at the end: this block of c, and the beginning of the next strip of a (the hardware
     * prefetches the rest of its rows). */
    for (int m = 0; m < rows; m++) {
        for (int j = 0; j < registers * LANES; j += 16) __builtin_prefetch(c + m * c_row + j, 1);
        for (int j = 0; j < 64 && a_col == 1; j += 16) prefetch_beyond(a, (rows + m) * a_row + j);
    }
    for (int m = 0; m < rows; m++)
        for (int j = 0; j < registers; j++) sum[m][j] = vec_set(0.0f);
    for (int64_t k = 0; k < depth; k++, a += a_col, b += b_row) {
        vec right[REGISTERS];
        for (int j = 0; j < registers; j++) right[j] = vec_load(b + j * LANES);
        for (int m = 0; m < rows; m++) {
            vec left = TILE_SPREAD(a + m * a_row);
            for (int j = 0; j < registers; j++) sum[m][j] = TILE_FMA(left, right[j], sum[m][j]);
        }
    }
    for (int m = 0; m < rows; m++)
        for (int j = 0; j < registers; j++) {
            float *out = c + m * c_row + j * LANES;
            vec y = add ? vec_load(out) + sum[m][j] : sum[m][j];
            vec_store(out, bias ? y + vec_load(bias + j * LANES) : y);
        }
}

/* Call `micro` with constants. Fewer than ROWS rows occur at the lower edge of c, one register of columns at the right
 * edge. Two layouts of `a` have loops of their own: contiguous along k, and along m (transposed or packed). */
INLINE void micro_any(int64_t rows, int registers, float *restrict c, int64_t c_row, const float *a, int64_t a_row,
                      int64_t a_col, const float *b, int64_t b_row, int64_t depth, int add, const float *bias) {
#define CASE(n)                                                                                                       \
    case n:                                                                                                           \
        if (a_col == 1) micro(n, registers, c, c_row, a, a_row, 1, b, b_row, depth, add, bias);                       \
        else micro(n, registers, c, c_row, a, 1, a_col, b, b_row, depth, add, bias);                                  \
        break;
    switch (rows) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#if LANES == 16
        CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#endif
    }
#undef CASE
}

static void whole_micro(int64_t rows, float *restrict c, int64_t c_row, const float *a, int64_t a_row, int64_t a_col,
                        const float *b, int64_t b_row, int64_t depth, int add, const float *bias) {
    micro_any(rows, REGISTERS, c, c_row, a, a_row, a_col, b, b_row, depth, add, bias);
}
static void narrow_micro(int64_t rows, float *restrict c, int64_t c_row, const float *a, int64_t a_row, int64_t a_col,
                         const float *b, int64_t b_row, int64_t depth) {
    micro_any(rows, 1, c, c_row, a, a_row, a_col, b, b_row, depth, 0, NULL);
}

/* c (rows x columns) (+)= a (rows x depth) @ b (depth x columns): adds to c if `add`, else overwrites it.
 * `columns` is a multiple of COLUMNS, and a_col or a_row is 1. */
static void tile_product(float *restrict c, int64_t c_row, const float *a, int64_t a_row, int64_t a_col,
                         const float *b, int64_t b_row, int64_t rows, int64_t columns, int64_t depth, int add) {
    for (int64_t n = 0; n < columns; n += COLUMNS)
        for (int64_t m = 0; m < rows; m += ROWS)
            whole_micro(rows - m < ROWS ? rows - m : ROWS, c + m * c_row + n, c_row, a + m * a_row, a_row, a_col,
                      b + n, b_row, depth, add, NULL);
}

/* Copy depth rows of `columns` elements, each padded with zeros up to `width`, which is a constant where inlined. */
INLINE void pad_into(float *restrict to, int64_t width, const float *from, int64_t from_row, int64_t depth,
                     int64_t columns) {
    if (columns == width) { /* with a constant size, a copy is a few instructions, not a call */
        for (int64_t k = 0; k < depth; k++) memcpy(to + k * width, from + k * from_row, (size_t)width * sizeof *to);
        return;
    }
    memset(to, 0, (size_t)(depth * width) * sizeof *to);
    for (int64_t k = 0; k < depth; k++)
        for (int64_t n = 0; n < columns; n++) to[k * width + n] = from[k * from_row + n];
}
