/* adamw_step: m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
 *             w = (1 - lr decay) w - lr / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + eps)
 *             with g multiplied by grad_scale first, so that clipping needs no pass over the gradients
 * grad_norm:  sqrt(sum of g^2)
 *
 * Memory limits the speed of AdamW. The spec's eleven array operations read and write about 30 numbers per weight; one
 * pass reads four and writes three. The two corrections 1 - beta^step are computed once per step, in double, so the
 * loop has one square root and one division per weight. With 38.6 million weights (GPT-2's token embeddings), a step
 * on one thread takes a tenth of the spec's time, at 36 GB/s, and a second thread does not help. With 65 thousand
 * weights, all in cache, it takes a fifth.
 *
 * The spec of grad_norm makes a float64 copy and an array of its squares. Here floats become doubles in registers. The
 * square of a float is exact in double, so fusing would change nothing. Chunks of 4096 numbers are summed in sixteen
 * lanes, and the chunks in order. Threads divide chunks, so the sum is the same for any number of threads. (Sums in
 * float would be faster for gradients in cache, but 1e20 squared would be infinite.)
 */

#define NORM_CHUNK 4096

struct adamw_job {
    float *w, *m, *v;
    const float *g;
    float beta1, new1, beta2, new2; /* new = 1 - beta */
    float decay, step_size, widen, eps, grad_scale;
};

/* base^n by squaring: unlike pow, the same bits with every C library. */
static double power(double base, int64_t n) {
    double result = 1;
    for (; n > 0; n /= 2, base *= base)
        if (n % 2) result *= base;
    return result;
}

INLINE void adamw_at(const void *context, int64_t i, int64_t n) {
    const struct adamw_job *job = context;
    v16 w = load(job->w, i, n), m = load(job->m, i, n), v = load(job->v, i, n);
    v16 g = v_mul(load(job->g, i, n), v_set(job->grad_scale));
    m = v_fma(m, v_set(job->beta1), v_mul(g, v_set(job->new1)));
    v = v_fma(v, v_set(job->beta2), v_mul(v_mul(g, v_set(job->new2)), g));
    v16 size = v_fma(v_sqrt(v), v_set(job->widen), v_set(job->eps));
    w = v_fma(w, v_set(-job->decay), w);
    v_store_partial(job->w + i, n, v_sub(w, v_div(v_mul(m, v_set(job->step_size)), size)));
    v_store_partial(job->m + i, n, m);
    v_store_partial(job->v + i, n, v);
}
static void adamw_piece(void *job, int64_t begin, int64_t end) { walk(job, begin, end, adamw_at); }

static void adamw_step(float *w, float *m, float *v, const float *g, int64_t n, int64_t step, double lr, double beta1,
                       double beta2, double eps, double weight_decay, double grad_scale) {
    struct adamw_job job = {
        .w = w, .m = m, .v = v, .g = g,
        .beta1 = (float)beta1, .new1 = (float)(1 - beta1), .beta2 = (float)beta2, .new2 = (float)(1 - beta2),
        .decay = (float)(lr * weight_decay), .step_size = (float)(lr / (1 - power(beta1, step))),
        .widen = (float)(1 / sqrt(1 - power(beta2, step))), .eps = (float)eps, .grad_scale = (float)grad_scale,
    };
    parallel_for(adamw_piece, &job, n, 8192);
}

struct norm_job { double *sums; const float *g; int64_t n; };

static void norm_chunks(void *context, int64_t begin, int64_t end) {
    const struct norm_job *job = context;
    for (int64_t chunk = begin; chunk < end; chunk++) {
        const float *g = job->g + chunk * NORM_CHUNK;
        int64_t n = i64_min(job->n - chunk * NORM_CHUNK, NORM_CHUNK);
        d16 sum = d_set(0);
        for (int64_t i = 0; i < n; i += 16) {
            d16 x = d_widen(load(g, i, n - i));
            sum = d_add(sum, d_mul(x, x));
        }
        job->sums[chunk] = d_sum(sum);
    }
}

/* Add the squares of g to `sum`. scratch has room for one double per chunk of 4096. */
static double sum_squares(double sum, double *scratch, const float *g, int64_t n) {
    struct norm_job job = {.sums = scratch, .g = g, .n = n};
    int64_t chunks = ceil_div(n, NORM_CHUNK);
    parallel_for(norm_chunks, &job, chunks, 4);
    for (int64_t i = 0; i < chunks; i++) sum += scratch[i];
    return sum;
}
