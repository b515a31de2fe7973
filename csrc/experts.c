/* Grouped products, for a mixture of experts: rows that are sorted by expert, each group times its own matrix.
 *
 * The products are those of matmul.c, with its bits, so a row does not depend on the other rows. All products are one
 * call from Python. If the largest group is no more than a thread's share of the rows, each thread multiplies whole
 * groups, because dividing a small product takes longer than computing it. Otherwise all threads work together on one
 * group after another. The group of an expert without tokens has no rows; its gradient is an empty sum, 0.
 *
 * `combine` reads the results of a token's experts once. The spec needs four passes over memory to gather, multiply and
 * add them, and four more in the backward pass.
 */
#include <stdatomic.h>

struct grouped_job {
    float *c;
    const float *a;
    const float *const *b; /* one matrix for each group; NULL when the gradients of the matrices are computed */
    const float *dy;
    const int64_t *ends;   /* the row after each group */
    int64_t columns, depth;
    int transposed, bf16;
    atomic_int failed;
};

static void group_tasks(void *context, int64_t begin, int64_t end) {
    struct grouped_job *job = context;
    int64_t columns = job->columns, depth = job->depth;
    for (int64_t g = begin; g < end; g++) {
        int64_t first = g ? job->ends[g - 1] : 0, count = job->ends[g] - first;
        int64_t rows = job->b ? count : depth, terms = job->b ? depth : count;
        const float *b = job->b ? job->b[g] : job->dy + first * columns;
        float *c = job->c + (job->b ? first : g * depth) * columns;
        int failed = (job->bf16 ? kernels->matmul_bf16 : matmul)(c, NULL, job->a + first * depth, b, NULL, 1, rows,
                                                                 columns, terms, 0, 0, !job->b, job->transposed);
        if (failed) atomic_store(&job->failed, 1);
    }
}

static int run_groups(struct grouped_job *job, int64_t groups) {
    int64_t largest = 0, total = groups ? job->ends[groups - 1] : 0, work = job->columns * job->depth;
    for (int64_t g = 0; g < groups; g++) largest = i64_max(largest, job->ends[g] - (g ? job->ends[g - 1] : 0));
    if (largest * parallel_size() > total) group_tasks(job, 0, groups);
    else parallel_for(group_tasks, job, groups, 1 + 65536 / (work * (1 + total / groups) + 1));
    return atomic_load(&job->failed) ? -1 : 0;
}

/* Compute c = a b[g] for each group g of rows: a (N, depth), b[g] (depth, columns) or its transpose, c (N, columns). */
static int grouped_matmul(float *c, const float *a, const float *const *b, const int64_t *ends, int64_t groups,
                          int64_t columns, int64_t depth, int transposed, int bf16) {
    struct grouped_job job = {.c = c, .a = a, .b = b, .ends = ends, .columns = columns, .depth = depth,
                              .transposed = transposed, .bf16 = bf16};
    return run_groups(&job, groups);
}

/* Compute dw[g] = x^T dy for each group g of rows: x (N, depth), dy (N, columns), dw (groups, depth, columns). */
static int grouped_outer(float *dw, const float *x, const float *dy, const int64_t *ends, int64_t groups,
                         int64_t columns, int64_t depth, int bf16) {
    struct grouped_job job = {.c = dw, .a = x, .dy = dy, .ends = ends, .columns = columns, .depth = depth,
                              .bf16 = bf16};
    return run_groups(&job, groups);
}

/* z[n] = sum over k of weights[n][k] * y[places[n][k]], in order of k. */

struct combine_job {
    float *z, *dy, *dweights;
    const float *dz, *y, *weights;
    const int64_t *places;
    int64_t top, c;
};

static void combine_row(const struct combine_job *job, int64_t row) {
    float *z = job->z + row * job->c;
    ROW(i, n, job->c,
        v16 sum = v_set(0.0f);
        for (int64_t k = row * job->top; k < (row + 1) * job->top; k++) {
            v16 y = v_load_partial(job->y + job->places[k] * job->c + i, n, 0.0f);
            sum = v_fma(v_set(job->weights[k]), y, sum);
        }
        v_store_partial(z + i, n, sum);)
}
BY_ROWS(combine, struct combine_job, rows, 16384 / (c * top + 1),
        (float *z, const float *y, const float *weights, const int64_t *places, int64_t rows, int64_t top, int64_t c),
        .z = z, .y = y, .weights = weights, .places = places, .top = top, .c = c)

static void combine_backward_row(const struct combine_job *job, int64_t row) {
    const float *dz = job->dz + row * job->c;
    for (int64_t k = row * job->top; k < (row + 1) * job->top; k++) {
        const float *y = job->y + job->places[k] * job->c;
        float *dy = job->dy + job->places[k] * job->c;
        v16 weight = v_set(job->weights[k]), sum = v_set(0.0f);
        ROW(i, n, job->c,
            v16 d = v_load_partial(dz + i, n, 0.0f);
            v_store_partial(dy + i, n, v_mul(weight, d));
            sum = v_fma(d, v_load_partial(y + i, n, 0.0f), sum);)
        job->dweights[k] = v_sum(sum);
    }
}
BY_ROWS(combine_backward, struct combine_job, rows, 8192 / (c * top + 1),
        (float *dy, float *dweights, const float *dz, const float *y, const float *weights, const int64_t *places,
         int64_t rows, int64_t top, int64_t c),
        .dy = dy, .dweights = dweights, .dz = dz, .y = y, .weights = weights, .places = places, .top = top, .c = c)
