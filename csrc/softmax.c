/* softmax and its logarithm, row by row, with m = max x:
 *
 *     softmax       y = exp(x - m) / s,        s = sum exp(x - m)        dx = y (dy - sum(dy y))
 *     log_softmax   y = x - m - log s                                    dx = dy - exp(y) sum(dy)
 *
 * The spec makes five passes over memory, one per NumPy call. Here a row is read three times while it is in
 * cache and written twice, and the exponential is sixteen lanes of arithmetic instead of a library call.
 *
 * What the versions took, in ns for a row of 64 and for one of 65, on one core with AVX-512:
 *
 *     1. sixteen partial sums that the compiler kept in memory, where each addition waited for the one before;
 *        the last number of 65 in a copy of its own, padded to sixteen: 59, 124
 *     2. `v_sum` reading a copy, so that the sums stay in registers: 38, 102
 *     3. the last number through a masked load and store: 36, 61
 *     4. nothing underflows in the lanes beyond it, and 2**n is one instruction: 32, 39
 *
 * log_softmax takes the logarithms of sixteen rows at once: rows of 16 went from 31 ns to 17.
 *
 * A row of nothing but -inf (all masked) has softmax 0 and log_softmax -inf; +inf or NaN anywhere makes the
 * whole row NaN: the maximum passes over NaN, but the sum does not.
 */

struct softmax_job { float *y, *dx; const float *x, *dy, *given_y; int64_t rows, n; };

/* The largest number of a row, or 0 where that is -inf, so that x - row_max is never -inf - -inf. */
INLINE float row_max(const float *x, int64_t n) {
    v16 m = v_set(-INFINITY);
    ROW(i, k, n, m = v_max(m, v_load_partial(x + i, k, -INFINITY));)
    float max = v_max_lane(m);
    return max == -INFINITY ? 0.0f : max;
}

/* exp(x - max) of sixteen numbers, or of n; 0 beyond. (Filled with -inf instead, the lanes beyond would underflow, which
 * is slow.) */
INLINE v16 v_exp_below(const float *x, int64_t n, float max) {
    return v_keep(v_exp(v_sub(v_load_partial(x, n, max), v_set(max))), n);
}

static void softmax_row(const struct softmax_job *job, int64_t row) {
    int64_t n = job->n, whole = n & ~(int64_t)15;
    const float *x = job->x + row * n;
    float *y = job->y + row * n, max = row_max(x, n);
    v16 sum = v_set(0.0f), e = sum;
    for (int64_t i = 0; i < whole; i += 16) {
        e = v_exp_below(x + i, 16, max);
        v_store(y + i, e);
        sum = v_add(sum, e);
    }
    if (whole < n) { /* these stay in a register: read back, they would wait for the store */
        e = v_exp_below(x + whole, n - whole, max);
        sum = v_add(sum, e);
    }
    float total = v_sum(sum);
    v16 factor = v_set(total == 0.0f ? 0.0f : 1.0f / total);
    for (int64_t i = 0; i < whole; i += 16) v_store(y + i, v_mul(v_load(y + i), factor));
    if (whole < n) v_store_partial(y + whole, n - whole, v_mul(e, factor));
}
BY_ROWS(softmax, struct softmax_job, rows, 8192 / (n + 1), (float *y, const float *x, int64_t rows, int64_t n),
        .y = y, .x = x, .n = n)

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

enum { GROUP = 16 }; /* rows whose logarithms are taken at once: alone, one costs as much as a short row */

/* max x and log sum exp(x - max) of each row, at most GROUP. */
INLINE void log_sums(float *max, float *log_sum, const float *x, int64_t rows, int64_t n) {
    float sums[GROUP];
    for (int64_t k = 0; k < rows; k++, x += n) {
        v16 sum = v_set(0.0f);
        max[k] = row_max(x, n);
        ROW(i, w, n, sum = v_add(sum, v_exp_below(x + i, w, max[k]));)
        sums[k] = v_sum(sum);
    }
    v_store_partial(log_sum, rows, v_log(v_load_partial(sums, rows, 1.0f)));
}

/* How many rows of n numbers stay in the nearest cache until their logarithms are there. */
INLINE int64_t group_of(int64_t n) { return i64_max(1, i64_min(GROUP, 4096 / (n + 1))); }

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
