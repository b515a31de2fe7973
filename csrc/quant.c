/* Products with weights of 8 and 4 bits: y = x W + b, with W in the layout of ops/quant.py.
 *
 *     y[m][o] = sum over blocks n of (scale of x[m][n] * scale of w[n][o]) * (sum over 32 inputs of xq * wq)  (+ b[o])
 *
 * Bits: the inner sum is of whole numbers below 2^24, exact in any order and as a float; the outer one is one
 * accumulator that takes its blocks in order, one fused multiply-add each. So the result of a row does not depend
 * on the instruction set, the threads or the other rows.
 *
 * The speed: decoding multiplies one row by every weight, so it takes as long as reading the weights, which have a
 * quarter or an eighth of the bytes of float32 (a scale for 32 adds half a bit to each). They are read once, in order,
 * 64 bytes of 16 outputs per instruction. With several rows, the weights of 16 outputs stay in the L1 cache while
 * Q_TILE rows at a time are multiplied, so that each load of weights serves Q_TILE products.
 *
 * dot.h has the instructions of each level. With 64 rows of 768 inputs, 2,048 outputs and 8 bits, one thread of a Zen 5
 * does about 160 billion operations a second with AVX2, 330 with AVX-512 and 610 with VNNI; matmul in float32 does 115
 * and 230. For one row, and weights read from memory, the three differ by only 5 to 20 percent: memory is the limit.
 */

enum { Q_BLOCK = 32, Q_LANES = 16, Q_AHEAD = 8192 };
#if LANES == 16
enum { Q_TILE = 8 };
#else
enum { Q_TILE = 4 };
#endif

INLINE i16 i_load(const void *p) { i16 r; memcpy(&r, p, sizeof r); return r; }
INLINE v16 i_to_v(i16 x) { v16 r; EACH(i) r.part[i] = __builtin_convertvector(x.part[i], vec); return r; }
INLINE i16 i_abs_bits(v16 x) { return i_and(v_bits(x), i_set(0x7fffffff)); } /* in the order of |x|; NaN is largest */
INLINE i16 i_max(i16 a, i16 b) {
    EACH(i) {
        ivec less = a.part[i] < b.part[i];
        a.part[i] = (less & b.part[i]) | (~less & a.part[i]);
    }
    return a;
}

/* Return x / scale rounded to the nearest whole number, ties to even; |x / scale| is below 2^22. */
INLINE i16 v_round(v16 x) {
    v16 magic = v_set(12582912.0f); /* 1.5 * 2^23: adding it rounds to whole numbers */
    return i_sub(v_bits(v_add(x, magic)), v_bits(magic));
}

/* --- rows of inputs -------------------------------------------------------------------------------------------- */

struct rows_job {
    int8_t *q;
    float *scales;
    int32_t *sums;
    const float *x;
    int64_t n, blocks;
};

/* Round one block of at most 32 inputs; the scale is NaN if an input is not finite. */
INLINE void quantize_row_block(int8_t *q, float *scale, int32_t *sum, const float *x, int64_t n) {
    v16 low = v_load_partial(x, n, 0.0f), high = n > 16 ? v_load_partial(x + 16, n - 16, 0.0f) : v_set(0.0f);
    int32_t row[Q_BLOCK], most = 0, total = 0;
    i16 sizes = i_max(i_abs_bits(low), i_abs_bits(high));
    memcpy(row, &sizes, sizeof sizes);
    for (int i = 0; i < 16; i++) most = row[i] > most ? row[i] : most;
    float largest;
    memcpy(&largest, &most, sizeof largest);
    *scale = most < 0x7f800000 ? largest / 127.0f : NAN;
    float divisor = *scale > 0.0f ? *scale : INFINITY; /* makes finite quotients 0; the others are set to 0 below */
    i16 parts[2] = {v_round(v_div(low, v_set(divisor))), v_round(v_div(high, v_set(divisor)))};
    memcpy(row, parts, sizeof parts);
    for (int i = 0; i < Q_BLOCK; i++) {
        int32_t value = row[i] > 127 ? 127 : row[i] < -127 ? -127 : row[i];
        if (most >= 0x7f800000) value = 0;
        q[i] = (int8_t)value;
        total += value;
    }
    *sum = total;
}

static void quantize_rows_row(const struct rows_job *job, int64_t row) {
    for (int64_t n = 0; n < job->blocks; n++) {
        int64_t at = row * job->blocks + n, first = n * Q_BLOCK;
        quantize_row_block(job->q + at * Q_BLOCK, job->scales + at, job->sums + at, job->x + row * job->n + first,
                           i64_min(job->n - first, Q_BLOCK));
    }
}
/* Compute q (rows, blocks, 32), scales and sums of q (rows, blocks) from x (rows, n). */
BY_ROWS(quantize_rows, struct rows_job, rows, 8192 / (n + 1),
        (int8_t *q, float *scales, int32_t *sums, const float *x, int64_t rows, int64_t n),
        .q = q, .scales = scales, .sums = sums, .x = x, .n = n, .blocks = ceil_div(n, Q_BLOCK))

/* --- the product ----------------------------------------------------------------------------------------------- */

struct quant_job {
    float *y;
    const int8_t *x;
    const float *x_scales;
    const int32_t *x_sums;
    const uint8_t *q;
    const uint16_t *scales;
    const float *bias;
    int64_t rows, blocks, n_out;
    int bits;
};

/* Return four inputs of one row, repeated in every lane. */
INLINE i16 i_four(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return i_set(four);
}
INLINE i16 i_dot(int is_small, i16 sum, i16 w, i16 x) {
    EACH(i) sum.part[i] = is_small ? dot_small(sum.part[i], w.part[i], x.part[i])
                                   : dot_signed(sum.part[i], w.part[i], x.part[i]);
    return sum;
}

/* Prefetch weights; the address may lie beyond their end, because a prefetch cannot fail. Decoding waits for memory,
 * and the prefetcher of Zen 5 alone leaves a quarter of the bandwidth unused at 4 bits, a tenth at 8. */
INLINE void prefetch_weights(const uint8_t *q) {
    __builtin_prefetch((const void *)((uintptr_t)q + Q_AHEAD));
}

/* dots[m] += the 32 inputs of a block times its weights, for `rows` rows that lie `stride` bytes apart. */
INLINE void block_dots(int bits, int rows, i16 *dots, const uint8_t *q, const int8_t *x, int64_t stride) {
    for (int j = 0; j < bits; j++) {
        i16 w = i_load(q + 64 * j);
        if (rows == 1) prefetch_weights(q + 64 * j);
        if (bits == 8) {
            for (int m = 0; m < rows; m++) dots[m] = i_dot(0, dots[m], w, i_four(x + m * stride + 4 * j));
            continue;
        }
        i16 low = i_and(w, i_set(0x0f0f0f0f)), high = i_and(i_shift_right(w, 4), i_set(0x0f0f0f0f));
        for (int m = 0; m < rows; m++) {
            dots[m] = i_dot(1, dots[m], low, i_four(x + m * stride + 4 * j));
            dots[m] = i_dot(1, dots[m], high, i_four(x + m * stride + 4 * j + 16));
        }
    }
}

/* Compute the outputs of one group for `rows` rows from `row` on. `bits` and `rows` are constants when inlined. */
INLINE void group_product(int bits, int rows, const struct quant_job *job, int64_t row, int64_t group) {
    int64_t blocks = job->blocks, width = i64_min(job->n_out - group * Q_LANES, Q_LANES), stride = blocks * Q_BLOCK;
    const uint8_t *q = job->q + group * blocks * (64 * bits);
    const uint16_t *scales = job->scales + group * blocks * Q_LANES;
    const int8_t *x = job->x + row * stride;
    const float *x_scales = job->x_scales + row * blocks;
    const int32_t *x_sums = job->x_sums + row * blocks;
    v16 y[Q_TILE];
    for (int m = 0; m < rows; m++) y[m] = v_set(0.0f);
    for (int64_t n = 0; n < blocks; n++) {
        i16 dots[Q_TILE];
        for (int m = 0; m < rows; m++) dots[m] = i_set(x_sums[m * blocks + n] * (bits == 8 ? -DOT_EXCESS : -8));
        block_dots(bits, rows, dots, q + n * (64 * bits), x + n * Q_BLOCK, stride);
        v16 scale = v_load_halves(scales + n * Q_LANES);
        for (int m = 0; m < rows; m++)
            y[m] = v_fma(v_mul(v_set(x_scales[m * blocks + n]), scale), i_to_v(dots[m]), y[m]);
    }
    for (int m = 0; m < rows; m++) {
        float *out = job->y + (row + m) * job->n_out + group * Q_LANES;
        if (job->bias) y[m] = v_add(y[m], v_load_partial(job->bias + group * Q_LANES, width, 0.0f));
        v_store_partial(out, width, y[m]);
    }
}

INLINE void group_rows(int bits, const struct quant_job *job, int64_t group) {
#define CASE(n)                                                                                                       \
    case n: group_product(bits, n, job, row, group); break;
    int64_t row = 0;
    for (; row + Q_TILE <= job->rows; row += Q_TILE) group_product(bits, Q_TILE, job, row, group);
    switch (job->rows - row) {
        CASE(1) CASE(2) CASE(3)
#if LANES == 16
        CASE(4) CASE(5) CASE(6) CASE(7)
#endif
    }
#undef CASE
}

static void quant_tasks(void *context, int64_t begin, int64_t end) {
    const struct quant_job *job = context;
    for (int64_t group = begin; group < end; group++) {
        if (job->bits == 8) group_rows(8, job, group);
        else group_rows(4, job, group);
    }
}

/* Compute y (rows, n_out) from x (rows, n_in) and packed weights; return 1 if the rounded rows get no memory. */
static int linear_quantized(float *y, const float *x, const uint8_t *q, const uint16_t *scales, const float *bias,
                            int64_t rows, int64_t n_in, int64_t n_out, int bits) {
    int64_t blocks = ceil_div(n_in, Q_BLOCK), count = rows * blocks;
    if (rows == 0 || n_out == 0) return 0;
    int8_t *xq = pool_take((size_t)count * (Q_BLOCK + 8) + 1);
    if (xq == NULL) return 1;
    float *x_scales = (float *)(void *)(xq + count * Q_BLOCK);
    int32_t *x_sums = (int32_t *)(void *)(x_scales + count);
    quantize_rows(xq, x_scales, x_sums, x, rows, n_in);
    struct quant_job job = {.y = y, .x = xq, .x_scales = x_scales, .x_sums = x_sums, .q = q, .scales = scales,
                            .bias = bias, .rows = rows, .blocks = blocks, .n_out = n_out, .bits = bits};
    parallel_for(quant_tasks, &job, ceil_div(n_out, Q_LANES), 1 + 32768 / (blocks * 64 * bits * rows + 1));
    pool_give(xq);
    return 0;
}

/* --- weights --------------------------------------------------------------------------------------------------- */

enum { TOO_LARGE = 0x7f000000, NO_SCALE = 0x7fff }; /* the bits of 2^127 as a float; a NaN as a bfloat16 */

struct quantize_job {
    uint8_t *q;
    uint16_t *scales;
    const float *w;
    int64_t n_in, n_out, blocks;
    int bits;
};

/* Return which byte of a block has the weight of input i, output o; with 4 bits, its upper half is for i > 15. */
INLINE int64_t place(int bits, int i, int64_t o) {
    int quad = bits == 8 ? i / 4 : i / 4 % 4;
    return 64 * quad + 4 * o + i % 4;
}

INLINE v16 v_not_zero(v16 x) { return v_select(v_equal(x, v_set(0.0f)), v_set(1.0f), x); }

/* Round w / divisor to integers in -lowest..highest; each lane is an output. */
INLINE i16 i_rounded(v16 w, v16 divisor, float lowest, float highest) {
    return v_round(v_max(v_min(v_div(w, divisor), v_set(highest)), v_set(-lowest)));
}

/* Choose the 4-bit scales of 16 blocks: -m / 8, or m / 7 where this has the smaller squared error. */
INLINE v16 best_scales(const float *w, int64_t n_out, int64_t inputs, int64_t width, v16 largest) {
    v16 high = v_set(0.0f), low = v_set(0.0f), unit = v_not_zero(largest), best = high, least = v_set(INFINITY);
    for (int64_t i = 0; i < inputs; i++) {
        v16 x = v_load_partial(w + i * n_out, width, 0.0f);
        high = v_max(high, x);
        low = v_min(low, x);
    }
    v16 minus = v_select(v_less(high, v_sub(v_set(0.0f), low)), v_sub(v_set(0.0f), low), v_sub(v_set(0.0f), high));
    for (int end = 8; end >= -7; end -= 15) {
        i16 bits = v_bits(v_div(minus, v_set((float)end)));
        i16 odd = i_and(i_shift_right(bits, 16), i_set(1));
        v16 scale = i_float(i_and(i_add(i_add(bits, i_set(0x7fff)), odd), i_set((int32_t)0xffff0000)));
        v16 divisor = v_not_zero(scale), total = v_set(0.0f);
        for (int64_t i = 0; i < inputs; i++) {
            v16 x = v_load_partial(w + i * n_out, width, 0.0f);
            v16 means = v_mul(i_to_v(i_rounded(x, divisor, 8.0f, 7.0f)), scale);
            v16 error = v_div(v_sub(x, means), unit);
            total = v_add(total, v_mul(error, error));
        }
        i16 better = v_less(total, least);
        best = v_select(better, scale, best);
        least = v_select(better, total, least);
    }
    return best;
}

static void quantize_weight_block(const struct quantize_job *job, int64_t group, int64_t n) {
    int64_t width = i64_min(job->n_out - group * Q_LANES, Q_LANES), inputs = i64_min(job->n_in - n * Q_BLOCK, Q_BLOCK);
    const float *w = job->w + n * Q_BLOCK * job->n_out + group * Q_LANES;
    uint8_t *q = job->q + (group * job->blocks + n) * (64 * job->bits);
    float lowest = job->bits == 8 ? 127.0f : 8.0f, highest = job->bits == 8 ? 127.0f : 7.0f;
    i16 most = i_set(0);
    for (int64_t i = 0; i < inputs; i++) most = i_max(most, i_abs_bits(v_load_partial(w + i * job->n_out, width, 0)));
    i16 up = i_and(i_add(v_bits(v_div(i_float(most), v_set(127.0f))), i_set(0xffff)), i_set((int32_t)0xffff0000));
    if (job->bits == 4) up = v_bits(best_scales(w, job->n_out, inputs, width, i_float(most)));
    v16 divisor = v_not_zero(i_float(up)); /* in 8 bits the scale is rounded up to a bfloat16 */
    i16 usable = i_shift_right(i_sub(most, i_set(TOO_LARGE)), 31);
    uint32_t halves[16];
    up = i_or(i_and(up, usable), i_and(i_set(NO_SCALE << 16), i_sub(i_set(-1), usable)));
    memcpy(halves, &up, sizeof up);
    for (int o = 0; o < 16; o++) job->scales[(group * job->blocks + n) * Q_LANES + o] = (uint16_t)(halves[o] >> 16);
    memset(q, 0, (size_t)(64 * job->bits));
    for (int i = 0; i < Q_BLOCK; i++) {
        int32_t row[16];
        i16 value = i_set(0);
        if (i < inputs) value = i_rounded(v_load_partial(w + i * job->n_out, width, 0.0f), divisor, lowest, highest);
        value = i_and(value, usable);
        memcpy(row, &value, sizeof value);
        for (int o = 0; o < 16; o++) {
            if (job->bits == 8) q[place(8, i, o)] = (uint8_t)row[o];
            else q[place(4, i, o)] |= (uint8_t)(((uint32_t)(row[o] + 8) & 15u) << (i < 16 ? 0 : 4));
        }
    }
}

static void quantize_tasks(void *context, int64_t begin, int64_t end) {
    const struct quantize_job *job = context;
    for (int64_t group = begin; group < end; group++)
        for (int64_t n = 0; n < job->blocks; n++) quantize_weight_block(job, group, n);
}

/* Pack w (n_in, n_out); return 1 if a weight is not finite, or 2^127 or more. */
static int64_t quantize_weights(uint8_t *q, uint16_t *scales, const float *w, int64_t n_in, int64_t n_out, int bits) {
    struct quantize_job job = {.q = q, .scales = scales, .w = w, .n_in = n_in, .n_out = n_out,
                           .blocks = ceil_div(n_in, Q_BLOCK), .bits = bits};
    parallel_for(quantize_tasks, &job, ceil_div(n_out, Q_LANES), 1 + 256 / (n_in + 1));
    for (int64_t i = 0; i < ceil_div(n_out, Q_LANES) * job.blocks * Q_LANES; i++)
        if (scales[i] == NO_SCALE) return 1;
    return 0;
}
