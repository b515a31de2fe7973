/* softmax and its logarithm, row by row, with m = max x:
 *
 *     softmax       y = exp(x - m) / s,        s = sum exp(x - m)        dx = y (dy - sum(dy y))
 *     log_softmax   y = x - m - log s                                    dx = dy - exp(y) sum(dy)
 *
 * The spec makes five passes over memory, one per NumPy call. Here a row is read three times while it is in
 * cache and written twice, and the exponential is sixteen lanes of arithmetic instead of a library call.
 *
 * The versions took, in ns for a row of 64 and for one of 65, on one core with AVX-512:
 *
 *     1. sixteen partial sums that the compiler kept in memory, where each addition waited for the one before;
 *        the last number of 65 in a copy of its own, padded to sixteen: 59, 124
 *     2. `v_sum` reads a copy, so that the sums stay in registers: 38, 102
 *     3. the last number is loaded and stored with a mask: 36, 61
 *     4. unused lanes cannot underflow, which would be slow, and 2**n is one instruction: 32, 39
 *     5. sixteen narrow rows at once: their partial results are transposed, so that sixteen maxima, sums or logarithms
 *        are one register, and exponentials are kept in whole registers. Rows of 16, 17 and 65 went from 14, 22 and
 *        36 ns (measured later than the others) to 9, 15 and 31, those of log_softmax, with one v_log for sixteen rows,
 *        from 16, 24 and 38 to 12, 17 and 31
 *
 * A row of nothing but -inf (all masked) has softmax 0 and log_softmax -inf; +inf or NaN anywhere makes the
 * whole row NaN: the maximum ignores NaN, but the sum does not.
 */

struct softmax_job { float *y, *dx; const float *x, *dy, *given_y; int64_t rows, n; };

/* Return the largest number of a row, or 0 if that is -inf, because -inf - -inf would be NaN. */
INLINE float row_max(const float *x, int64_t n) {
    v16 m = v_set(-INFINITY);
    ROW(i, k, n, m = v_max(m, v_load_partial(x + i, k, -INFINITY));)
    float max = v_max_lane(m);
    return max == -INFINITY ? 0.0f : max;
}

enum { GROUP = 16, NARROW = 256 }; /* rows per group; longest narrow row */

/* Return how many rows of n numbers to compute at once, so that they stay in the L1 cache. */
INLINE int64_t group_of(int64_t n) { return i64_max(1, i64_min(GROUP, GROUP * NARROW / (n + 1))); }

/* Compute v_sum or v_max_lane of sixteen registers at once, in the same order. */
INLINE v16 fold_each(const float part[GROUP][16], v16 (*two)(v16, v16)) {
    v16 column[16];
    for (int k = 0; k < 16; k += 4) transpose16(column + k, part[0] + k, 16);
    for (int n = 8; n > 0; n /= 2)
        for (int i = 0; i < n; i++) column[i] = two(column[i], column[i + n]);
    return column[0];
}

/* row_max of GROUP rows */
INLINE void row_maxima(float max[GROUP], const float *x, int64_t n) {
    float part[GROUP][16];
    for (int64_t k = 0; k < GROUP; k++, x += n) {
        v16 m = v_set(-INFINITY);
        ROW(i, w, n, m = v_max(m, v_load_partial(x + i, w, -INFINITY));)
        v_store(part[k], m);
    }
    v16 m = fold_each(part, v_max);
    v_store(max, v_select(v_equal(m, v_set(-INFINITY)), v_set(0.0f), m));
}

/* Return exp(x - max) of the first n of sixteen numbers, 0 in the other lanes. (These are loaded as max, because exp of
 * -inf would underflow, which is slow.) */
INLINE v16 v_exp_below(const float *x, int64_t n, float max) {
    return v_keep(v_exp(v_sub(v_load_partial(x, n, max), v_set(max))), n);
}

/* Compute rows one by one; the compiler computes what depends only on n once. */
static void softmax_alone(float *y, const float *x, int64_t rows, int64_t n) {
    int64_t whole = n & ~(int64_t)15;
    for (; rows > 0; rows--, x += n, y += n) {
        float max = row_max(x, n);
        v16 sum = v_set(0.0f), e = sum;
        for (int64_t i = 0; i < whole; i += 16) {
            e = v_exp_below(x + i, 16, max);
            v_store(y + i, e);
            sum = v_add(sum, e);
        }
        if (whole < n) { /* kept in a register, because reading it back would wait for the store */
            e = v_exp_below(x + whole, n - whole, max);
            sum = v_add(sum, e);
        }
        float total = v_sum(sum);
        v16 factor = v_set(total == 0.0f ? 0.0f : 1.0f / total);
        for (int64_t i = 0; i < whole; i += 16) v_store(y + i, v_mul(v_load(y + i), factor));
        if (whole < n) v_store_partial(y + whole, n - whole, v_mul(e, factor));
    }
}

/* Compute GROUP rows of fewer than NARROW numbers; `near` keeps their exponentials until the sums are known. */
static void softmax_together(float *y, const float *x, int64_t n) {
    _Alignas(64) float near[GROUP * NARROW], *e = near;
    float max[GROUP], part[GROUP][16], factor[GROUP];
    row_maxima(max, x, n);
    for (int64_t k = 0; k < GROUP; k++, x += n) {
        v16 sum = v_set(0.0f);
        ROW(i, w, n,
            v16 value = v_exp_below(x + i, w, max[k]);
            prefetch_beyond(x + i, GROUP * n); /* prefetched while this row is computed; so is y */
            prefetch_beyond(y + k * n, i);
            v_store(e, value);
            e += 16;
            sum = v_add(sum, value);)
        v_store(part[k], sum);
    }
    v16 total = fold_each(part, v_add), zero = v_set(0.0f);
    v_store(factor, v_select(v_equal(total, zero), zero, v_div(v_set(1.0f), total)));
    e = near;
    for (int64_t k = 0; k < GROUP; k++, y += n) {
        v16 f = v_set(factor[k]);
        ROW(i, w, n, v_store_partial(y + i, w, v_mul(v_load(e), f)); e += 16;)
    }
}

static void softmax_row(const struct softmax_job *job, int64_t group) {
    int64_t n = job->n, row = group * group_of(n), rows = i64_min(group_of(n), job->rows - row);
    if (rows == GROUP) softmax_together(job->y + row * n, job->x + row * n, n);
    else softmax_alone(job->y + row * n, job->x + row * n, rows, n);
}
BY_ROWS(softmax, struct softmax_job, ceil_div(rows, group_of(n)), 8192 / (n * group_of(n) + 1),
        (float *y, const float *x, int64_t rows, int64_t n), .y = y, .x = x, .rows = rows, .n = n)

static void softmax_backward_row(const struct softmax_job *job, int64_t row) {
    int64_t n = job->n;
    const float *y = job->given_y + row * n, *dy = job->dy + row * n;
    float *dx = job->dx + row * n;
    v16 sum = v_set(0.0f);
    ROW(i, k, n, sum = v_fma(v_load_partial(dy + i, k, 0), v_load_partial(y + i, k, 0), sum);)
    v16 dot = v_set(v_sum(sum));
    ROW(i, k, n,
        v16 change = v_sub(v_load_partial(dy + i, k, 0), dot);
        v_store_partial(dx + i, k, v_mul(v_load_partial(y + i, k, 0), change));)
}
BY_ROWS(softmax_backward, struct softmax_job, rows, 8192 / (n + 1),
        (float *dx, const float *dy, const float *y, int64_t rows, int64_t n), .dx = dx, .dy = dy, .given_y = y, .n = n)

/* --- logarithms ----------------------------------------------------------------------------------------- */

/* log_sums of GROUP rows of at most NARROW numbers */
static void log_sums_together(float max[GROUP], float log_sum[GROUP], const float *x, int64_t n) {
    float part[GROUP][16];
    row_maxima(max, x, n);
    for (int64_t k = 0; k < GROUP; k++, x += n) {
        v16 sum = v_set(0.0f);
        ROW(i, w, n,
            prefetch_beyond(x + i, GROUP * n);
            sum = v_add(sum, v_exp_below(x + i, w, max[k]));)
        v_store(part[k], sum);
    }
    v_store(log_sum, v_log(fold_each(part, v_add)));
}

/* Compute max x and log sum exp(x - max) of up to GROUP rows, whose logarithms are taken together to save time. */
INLINE void log_sums(float *max, float *log_sum, const float *x, int64_t rows, int64_t n) {
    float sums[GROUP];
    if (rows == GROUP && n <= NARROW) {
        log_sums_together(max, log_sum, x, n);
        return;
    }
    for (int64_t k = 0; k < rows; k++, x += n) {
        v16 sum = v_set(0.0f);
        max[k] = row_max(x, n);
        ROW(i, w, n, sum = v_add(sum, v_exp_below(x + i, w, max[k]));)
        sums[k] = v_sum(sum);
    }
    v_store_partial(log_sum, rows, v_log(v_load_partial(sums, rows, 1.0f)));
}

static void log_softmax_row(const struct softmax_job *job, int64_t group) {
    int64_t n = job->n, row = group * group_of(n), rows = i64_min(group_of(n), job->rows - row);
    const float *x = job->x + row * n;
    float *y = job->y + row * n, max[GROUP], log_sum[GROUP];
    log_sums(max, log_sum, x, rows, n);
    for (int64_t k = 0; k < rows; k++, x += n, y += n) {
        v16 m = v_set(max[k]), l = v_set(log_sum[k] == -INFINITY ? 0.0f : log_sum[k]);
        ROW(i, w, n, v_store_partial(y + i, w, v_sub(v_sub(v_load_partial(x + i, w, 0), m), l));)
    }
}
BY_ROWS(log_softmax, struct softmax_job, ceil_div(rows, group_of(n)), 8192 / (n * group_of(n) + 1),
        (float *y, const float *x, int64_t rows, int64_t n), .y = y, .x = x, .rows = rows, .n = n)

static void log_softmax_backward_row(const struct softmax_job *job, int64_t row) {
    int64_t n = job->n;
    const float *y = job->given_y + row * n, *dy = job->dy + row * n;
    float *dx = job->dx + row * n;
    v16 sum = v_set(0.0f);
    ROW(i, k, n, sum = v_add(sum, v_load_partial(dy + i, k, 0));)
    v16 total = v_set(-v_sum(sum));
    ROW(i, k, n,
        v16 p = v_exp(v_load_partial(y + i, k, 0));
        v_store_partial(dx + i, k, v_fma(p, total, v_load_partial(dy + i, k, 0)));)
}
BY_ROWS(log_softmax_backward, struct softmax_job, rows, 8192 / (n + 1),
        (float *dx, const float *dy, const float *y, int64_t rows, int64_t n), .dx = dx, .dy = dy, .given_y = y, .n = n)
