/* The loss of every token, from logits x or together with the output layer that makes them. With m = max x:
 *
 *     loss = lse - x[target],     lse = m + log sum exp(x - m)
 *     dx   = (exp(x - lse) - onehot(target)) dloss
 *
 * The spec writes and reads a row of exponentials as long as the vocabulary, and gathers with index arrays. Here the
 * forward pass writes only a loss and an lse per row, and the backward pass computes the probabilities from lse, in one
 * pass over the logits. Threads divide rows.
 *
 * The gradient at the target is computed separately, because exp(x - lse) dloss - dloss cancels where the model is
 * sure. The logarithms of sixteen rows are taken at once, and the exponentials of sixteen targets. With 16 classes this
 * took forward and backward from 30 and 15 to 16 and 5 ns a row, on one core with AVX-512. With 65 classes, they took
 * 110 and 57 ns with the last number in a padded copy, 35 and 20 with masked loads. With the maxima and sums of sixteen
 * rows at once, too, the forward pass went from 15 to 10 ns for 16 classes, and from 34 to 26 ns for 65.
 *
 * linear_token_losses does the same for logits x w^T, and never stores all of them at once. With GPT-2's vocabulary of
 * 50,257 the logits of 4,096 tokens and their gradient would take 1.6 GB. Here the logits of a chunk of rows are
 * computed, used and dropped, and the backward pass computes them again: a tenth more arithmetic for GPT-2, and nothing
 * more where the vocabulary is small, because one chunk then holds all rows. dw is a sum over the rows of all chunks. A
 * chunk is a whole number of matmul's blocks of DEPTH rows, each block is summed from zero, and block sums are added
 * in order, as in matmul: so the size of the chunks does not change the result.
 *
 * `ignore` marks targets that do not count. The others must lie in 0..V-1 (the caller checks).
 */

struct loss_job {
    float *losses, *lse, *dx;
    const float *x, *given_lse, *dlosses;
    const int64_t *targets;
    int64_t rows, v, ignore, step;
};

/* --- from logits ---------------------------------------------------------------------------------------- */

static void token_losses_row(const struct loss_job *job, int64_t group) {
    int64_t row = group * GROUP, rows = i64_min(job->rows - row, GROUP), v = job->v;
    const float *x = job->x + row * v;
    float max[GROUP], log_sum[GROUP];
    log_sums(max, log_sum, x, rows, v);
    for (int64_t k = 0; k < rows; k++, row++, x += v) {
        float lse = job->lse[row] = max[k] + log_sum[k];
        job->losses[row] = job->targets[row] == job->ignore ? 0.0f : lse - x[job->targets[row]];
    }
}
BY_ROWS(token_losses, struct loss_job, ceil_div(rows, GROUP), 8192 / GROUP / (v + 1),
        (float *losses, float *lse, const float *x, const int64_t *targets, int64_t ignore, int64_t rows, int64_t v),
        .losses = losses, .lse = lse, .x = x, .targets = targets, .ignore = ignore, .rows = rows, .v = v)

/* dx may be x. With step 0, one dloss is used for all rows. */
static void token_losses_backward_row(const struct loss_job *job, int64_t group) {
    int64_t row = group * GROUP, rows = i64_min(job->rows - row, GROUP), v = job->v;
    const float *x = job->x + row * v;
    float *dx = job->dx + row * v, p[GROUP] = {0}; /* the logits of the targets: read now, because dx may be x itself */
    for (int64_t k = 0; k < rows; k++)
        if (job->targets[row + k] != job->ignore) p[k] = x[k * v + job->targets[row + k]] - job->given_lse[row + k];
    v_store(p, v_exp(v_load(p)));
    for (int64_t k = 0; k < rows; k++, row++, x += v, dx += v) {
        if (job->targets[row] == job->ignore) {
            memset(dx, 0, (size_t)v * sizeof *dx);
            continue;
        }
        float dloss = job->dlosses[row * job->step];
        v16 lse = v_set(job->given_lse[row]), scale = v_set(dloss);
        ROW(i, n, v, v_store_partial(dx + i, n, v_mul(v_exp(v_sub(v_load_partial(x + i, n, 0.0f), lse)), scale));)
        dx[job->targets[row]] = (p[k] - 1.0f) * dloss;
    }
}
BY_ROWS(token_losses_backward, struct loss_job, ceil_div(rows, GROUP), 8192 / GROUP / (v + 1),
        (float *dx, const float *dlosses, int64_t step, const float *x, const int64_t *targets, const float *lse,
         int64_t ignore, int64_t rows, int64_t v),
        .dx = dx, .dlosses = dlosses, .step = step, .x = x, .targets = targets, .given_lse = lse, .ignore = ignore,
        .rows = rows, .v = v)

/* Return the sum of n floats, computed in double. */
static double double_sum(const float *x, int64_t n) {
    d16 sum = d_set(0);
    ROW(i, k, n, sum = d_add(sum, d_widen(v_load_partial(x + i, k, 0)));)
    return d_sum(sum);
}

/* --- together with the output layer --------------------------------------------------------------------- */

enum { CHUNK_LOGITS = 1 << 23 }; /* the number of logits in a chunk: 32 MiB, or DEPTH rows where that is more */

/* Set the number of rows of a chunk, and return memory for its logits; NULL when memory runs out. */
static float *chunk_of_logits(int64_t *chunk, int64_t rows, int64_t v) {
    int64_t blocks = i64_max(CHUNK_LOGITS / i64_max(v, 1) / DEPTH, 1);
    *chunk = i64_min(blocks * DEPTH, rows);
    if (*chunk > 0 && v > ((int64_t)1 << 44) / *chunk) return NULL;
    return pool_take((size_t)(*chunk * v) * sizeof(float));
}

static int linear_token_losses(float *losses, float *lse, const float *x, const float *w, const int64_t *targets,
                               int64_t ignore, int64_t rows, int64_t v, int64_t c) {
    int64_t chunk;
    float *logits = chunk_of_logits(&chunk, rows, v);
    if (!logits) return -1;
    int failed = 0;
    for (int64_t row = 0; row < rows && !failed; row += chunk) {
        int64_t n = i64_min(rows - row, chunk);
        failed = matmul(logits, NULL, x + row * c, w, NULL, 1, n, v, c, 0, 0, 0, 1);
        if (!failed) token_losses(losses + row, lse + row, logits, targets + row, ignore, n, v);
    }
    pool_give(logits);
    return failed;
}

/* Compute dw += dlogits^T x. */
static int add_to_dw(float *dw, const float *dlogits, const float *x, int64_t rows, int64_t v, int64_t c) {
    struct matmul_job job = job_of(dw, NULL, dlogits, x, NULL, v, c, rows, 0, 0, 1, 0);
    job.add = 1;
    return v > 0 && c > 0 ? product(&job, 1) : 0;
}

static int linear_token_losses_backward(float *dx, float *dw, const float *dlosses, const float *x, const float *w,
                                        const int64_t *targets, const float *lse, int64_t ignore, int64_t rows,
                                        int64_t v, int64_t c) {
    int64_t chunk;
    float *logits = chunk_of_logits(&chunk, rows, v);
    if (!logits) return -1;
    int failed = rows ? 0 : matmul(dw, NULL, logits, x, NULL, 1, v, c, 0, 0, 0, 1, 0);
    for (int64_t row = 0; row < rows && !failed; row += chunk) {
        int64_t n = i64_min(rows - row, chunk);
        const float *in = x + row * c;
        failed = matmul(logits, NULL, in, w, NULL, 1, n, v, c, 0, 0, 0, 1);
        if (failed) break;
        token_losses_backward(logits, dlosses + row, 1, logits, targets + row, lse + row, ignore, n, v); /* in place */
        failed = matmul(dx + row * c, NULL, logits, w, NULL, 1, n, c, v, 0, 0, 0, 0);
        failed |= row ? add_to_dw(dw, logits, in, n, v, c) : matmul(dw, NULL, logits, in, NULL, 1, v, c, n, 0, 0, 1, 0);
    }
    pool_give(logits);
    return failed;
}
