/* softmax: y = exp(x - max x) / sum exp(x - max x), row by row.
 *
 * The spec makes five passes over memory, one per NumPy call. Here a row is read three times while it is in cache
 * and written twice, and the exponential is sixteen lanes of arithmetic instead of a library call.
 *
 * A row whose maximum is -inf (all masked) is all zeros; +inf or NaN anywhere makes the whole row NaN.
 */

struct softmax_job { float *y, *dx; const float *x, *dy, *yy; int64_t n; };

static float row_max(const float *x, int64_t n) {
    v16 m = v_set(-INFINITY);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) m = v_max(m, v_load(x + i));
    if (i < n) m = v_max(m, v_load_n(x + i, n - i, -INFINITY));
    return v_max_lane(m);
}

/* y = exp(x - max), returns the sum of y */
static float row_exp(float *y, const float *x, float max, int64_t n) {
    v16 m = v_set(max), sum = v_set(0.0f);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        v16 e = v_exp(v_sub(v_load(x + i), m));
        v_store(y + i, e);
        sum = v_add(sum, e);
    }
    if (i < n) {
        v16 e = v_exp(v_sub(v_load_n(x + i, n - i, -INFINITY), m));
        v_store_n(y + i, n - i, e);
        sum = v_add(sum, e);
    }
    return v_sum(sum);
}

static void row_scale(float *y, float factor, int64_t n) {
    v16 f = v_set(factor);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) v_store(y + i, v_mul(v_load(y + i), f));
    for (; i < n; i++) y[i] *= factor;
}

static void softmax_rows(void *context, int64_t begin, int64_t end) {
    const struct softmax_job *job = context;
    for (int64_t row = begin; row < end; row++) {
        const float *x = job->x + row * job->n;
        float *y = job->y + row * job->n;
        float max = row_max(x, job->n);
        float sum = row_exp(y, x, max == -INFINITY ? 0.0f : max, job->n);
        row_scale(y, sum == 0.0f ? 0.0f : 1.0f / sum, job->n);
    }
}

static void softmax(float *y, const float *x, int64_t rows, int64_t n) {
    struct softmax_job job = {.y = y, .x = x, .n = n};
    parallel_for(softmax_rows, &job, rows, 1 + 8192 / (n + 1));
}

/* dx = y * (dy - sum(dy * y)) */
static void softmax_backward_rows(void *context, int64_t begin, int64_t end) {
    const struct softmax_job *job = context;
    int64_t n = job->n;
    for (int64_t row = begin; row < end; row++) {
        const float *y = job->yy + row * n, *dy = job->dy + row * n;
        float *dx = job->dx + row * n;
        v16 sum = v_set(0.0f);
        int64_t i = 0;
        for (; i + 16 <= n; i += 16) sum = v_fma(v_load(dy + i), v_load(y + i), sum);
        if (i < n) sum = v_fma(v_load_n(dy + i, n - i, 0), v_load_n(y + i, n - i, 0), sum);
        v16 dot = v_set(v_sum(sum));
        for (i = 0; i + 16 <= n; i += 16) v_store(dx + i, v_mul(v_load(y + i), v_sub(v_load(dy + i), dot)));
        if (i < n)
            v_store_n(dx + i, n - i, v_mul(v_load_n(y + i, n - i, 0), v_sub(v_load_n(dy + i, n - i, 0), dot)));
    }
}

static void softmax_backward(float *dx, const float *dy, const float *y, int64_t rows, int64_t n) {
    struct softmax_job job = {.dx = dx, .dy = dy, .yy = y, .n = n};
    parallel_for(softmax_backward_rows, &job, rows, 1 + 8192 / (n + 1));
}
