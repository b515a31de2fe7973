/* Normalisation of every row of C channels.
 *
 *     layernorm   y = (x - mean) rstd w + b,   rstd = 1 / sqrt(mean((x - mean)**2) + eps)
 *     rmsnorm     y = x rstd w,                rstd = 1 / sqrt(mean(x**2) + eps)
 *
 * and backward, with the normal row n = (x - mean) rstd and dn = dy w,
 *
 *     dx = rstd (dn - mean(dn) - n mean(dn n)),   dw = sum over rows of dy n,   db = sum over rows of dy
 *
 * (rmsnorm: without mean(dn) and db). The spec makes about ten passes over memory. Here a row is read while
 * it is in cache: for the mean, for the variance, for the result. The variance is the mean of squared
 * deviations, because mean(x**2) - mean(x)**2 loses all its digits where the mean is large.
 *
 * The versions took, in ns for a row of 384 and for one of 65, on one core with AVX-512:
 *
 *     forward    1. the last number in a copy of its own, padded to sixteen: 110, 89
 *                2. the last number loaded with a mask: 92, 23
 *     backward   1. dx row by row; then dw and db in blocks of 32 columns, each from the first row to the last,
 *                   which reads x and dy again in pieces of 128 bytes: 140, 119; and 186 for the row of 384 when there
 *                   are 1,024 such rows, too many for the cache
 *                2. one pass, in which dx, dw and db share what is loaded: 96, 32, and 92
 *                3. four rows at a time, so that they share w, dw and db, too: 75, 22. But when x, dy and dx come from
 *                   memory, a row takes 430 instead of 220, because the hardware prefetches only rows that are read one
 *                   after the other. So version 2 is used
 *
 * Threads divide rows. dw and db are sums over rows: each of at most 64 blocks of rows is summed from its first row to
 * its last, and the block sums are added in order. The blocks depend only on the number of rows.
 */

struct normal_job {
    float *y, *mean, *rstd, *dx;
    const float *x, *w, *b, *dy, *given_mean, *given_rstd; /* b and both means are NULL in rmsnorm */
    float eps;
    int64_t rows, c;
    float *sums;           /* for each block of rows: dw, then db, each `stride` floats in whole registers */
    int64_t block, stride; /* block: rows in a block */
};

/* sum of (x - mean)**2 */
INLINE float square_deviation(const float *x, float mean, int64_t c) {
    v16 m = v_set(mean), sum = v_set(0.0f);
    ROW(i, n, c,
        v16 d = v_sub(v_load_partial(x + i, n, mean), m);
        sum = v_fma(d, d, sum);)
    return v_sum(sum);
}

INLINE float row_sum(const float *x, int64_t c) {
    v16 sum = v_set(0.0f);
    ROW(i, n, c, sum = v_add(sum, v_load_partial(x + i, n, 0.0f));)
    return v_sum(sum);
}

/* --- forward -------------------------------------------------------------------------------------------- */

INLINE void norm_row(const struct normal_job *job, int64_t row, int layer) {
    int64_t c = job->c;
    const float *x = job->x + row * c;
    float *y = job->y + row * c;
    float mean = layer ? row_sum(x, c) / (float)c : 0.0f;
    float rstd = 1.0f / sqrtf(square_deviation(x, mean, c) / (float)c + job->eps);
    if (layer) job->mean[row] = mean;
    job->rstd[row] = rstd;
    v16 m = v_set(mean), r = v_set(rstd);
    ROW(i, n, c,
        v16 normal = v_mul(v_sub(v_load_partial(x + i, n, mean), m), r);
        v16 w = v_load_partial(job->w + i, n, 0.0f);
        v_store_partial(y + i, n, layer ? v_fma(normal, w, v_load_partial(job->b + i, n, 0.0f)) : v_mul(normal, w));)
}

static void layernorm_row(const struct normal_job *job, int64_t row) { norm_row(job, row, 1); }
BY_ROWS(layernorm, struct normal_job, rows, 16384 / (c + 1),
        (float *y, float *mean, float *rstd, const float *x, const float *w, const float *b, float eps, int64_t rows,
         int64_t c), .y = y, .mean = mean, .rstd = rstd, .x = x, .w = w, .b = b, .eps = eps, .c = c)

static void rmsnorm_row(const struct normal_job *job, int64_t row) { norm_row(job, row, 0); }
BY_ROWS(rmsnorm, struct normal_job, rows, 16384 / (c + 1),
        (float *y, float *rstd, const float *x, const float *w, float eps, int64_t rows, int64_t c),
        .y = y, .rstd = rstd, .x = x, .w = w, .eps = eps, .c = c)

/* --- backward ------------------------------------------------------------------------------------------- */

/* Compute dx of a row, and add to dw and db. These are padded, because reading back a masked store would be slow. */
INLINE void norm_backward_row(const struct normal_job *job, int64_t row, float *dw, float *db, int layer) {
    int64_t c = job->c;
    const float *x = job->x + row * c, *dy = job->dy + row * c;
    float *dx = job->dx + row * c, mean = layer ? job->given_mean[row] : 0.0f;
    v16 m = v_set(mean), r = v_set(job->given_rstd[row]), sum = v_set(0.0f), dot = sum;
    ROW(i, n, c,
        v16 dn = v_mul(v_load_partial(dy + i, n, 0.0f), v_load_partial(job->w + i, n, 0.0f));
        if (layer) sum = v_add(sum, dn);
        dot = v_fma(dn, v_mul(v_sub(v_load_partial(x + i, n, mean), m), r), dot);)
    v16 mean_dn = v_set(layer ? v_sum(sum) / (float)c : 0.0f), mean_dot = v_set(v_sum(dot) / (float)c);
    ROW(i, n, c,
        v16 given = v_load_partial(dy + i, n, 0.0f), dn = v_mul(given, v_load_partial(job->w + i, n, 0.0f));
        v16 normal = v_mul(v_sub(v_load_partial(x + i, n, mean), m), r);
        v_store(dw + i, v_fma(given, normal, v_load(dw + i)));
        if (layer) v_store(db + i, v_add(v_load(db + i), given));
        if (layer) dn = v_sub(dn, mean_dn);
        v_store_partial(dx + i, n, v_mul(v_sub(dn, v_mul(normal, mean_dot)), r));)
}

INLINE void norm_backward_block(const struct normal_job *job, int64_t block, int layer) {
    float *dw = job->sums + block * 2 * job->stride, *db = dw + job->stride;
    memset(dw, 0, (size_t)(2 * job->stride) * sizeof *dw);
    int64_t row = block * job->block, stop = i64_min(row + job->block, job->rows);
    for (; row < stop; row++) norm_backward_row(job, row, dw, db, layer);
}

static void norm_backward_blocks(void *context, int64_t begin, int64_t end) {
    const struct normal_job *job = context;
    for (int64_t block = begin; block < end; block++) {
        if (job->given_mean) norm_backward_block(job, block, 1);
        else norm_backward_block(job, block, 0);
    }
}

/* Add the sums of all blocks in order. */
static void add_blocks(float *y, const float *sums, int64_t blocks, const struct normal_job *job) {
    ROW(i, n, job->c,
        v16 sum = v_set(0.0f);
        for (int64_t block = 0; block < blocks; block++) sum = v_add(sum, v_load(sums + block * 2 * job->stride + i));
        v_store_partial(y + i, n, sum);)
}

static int layernorm_backward(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w,
                              const float *mean, const float *rstd, int64_t rows, int64_t c) {
    struct normal_job job = {.dx = dx, .dy = dy, .x = x, .w = w, .given_mean = mean, .given_rstd = rstd, .rows = rows,
                             .c = c, .stride = ceil_div(c, 16) * 16};
    job.block = i64_max(64, ceil_div(rows, 64));
    int64_t blocks = ceil_div(rows, job.block);
    job.sums = pool_take((size_t)(blocks * 2 * job.stride) * sizeof *job.sums);
    if (!job.sums) return -1;
    parallel_for(norm_backward_blocks, &job, blocks, 1 + 16384 / (job.block * c + 1));
    add_blocks(dw, job.sums, blocks, &job);
    if (db) add_blocks(db, job.sums + job.stride, blocks, &job);
    pool_give(job.sums);
    return 0;
}

static int rmsnorm_backward(float *dx, float *dw, const float *dy, const float *x, const float *w, const float *rstd,
                            int64_t rows, int64_t c) {
    return layernorm_backward(dx, dw, NULL, dy, x, w, NULL, rstd, rows, c);
}
