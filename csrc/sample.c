/* From logits to the next token: top_k, top_p, min_p, repetition_penalty, sample.
 *
 * top_k and top_p are the same problem. Sort the tokens by logit, the largest first, and keep a token if the weights of
 * those before it sum to less than a target. For top_k every weight is 1 and the target is k; for top_p the weight is
 * exp(x - max) and the target is p times the sum of all weights. The result is a cut: a logit such that all larger ones
 * are kept, and how many of those equal to it are kept, the smaller ids first.
 *
 * Three versions:
 *   1. sort all tokens, as the spec does, though most of them are then dropped;
 *   2. bisect: weigh the upper half of the range of logits. If it reaches the target, go on inside it, else add its
 *      weight to a sum and go on below. Fewer logits are left each time, so all steps together take a few passes;
 *   3. first leave out logits that lie below the cut for certain. For top_p, tokens lighter than (1 - p) / n of the sum
 *      weigh less than 1 - p together. For top_k, the k-th largest maximum of disjoint groups of 16 is a lower bound of
 *      the k-th largest logit, and little more than k logits reach it.
 * Times for 50,257 normal logits (deviation 3) on one AVX2 core: top_k(50) 5700, 186, 25 us; top_p(0.9) 6500, 355, 163.
 *
 * sample finds the first token at which the running sum exceeds u times the total. In a running sum each addition waits
 * for the last, so here whole blocks are summed in sixteen lanes, and only the block in which the sum exceeds the aim
 * is added token by token. Sums are double, as in the spec, and differ from its sums only by rounding.
 */
#include <float.h>

#define SAMPLE_BLOCK 256

struct cut { float least; int64_t ties; }; /* keep x > least, and the first `ties` of x == least */
struct sample_job { float *y; const float *x; int64_t n, k; double p; };

/* --- what is kept ---------------------------------------------------------------------------------------------- */

static void row_keep(float *y, const float *x, int64_t n, struct cut cut) {
    const v16 least = v_set(cut.least), dropped = v_set(-INFINITY);
    for (int64_t i = 0; i < n; i += 16) {
        int64_t m = i64_min(n - i, 16);
        v16 a = v_load_partial(x + i, m, -INFINITY);
        v_store_partial(y + i, m, v_select(v_less(least, a), a, dropped));
        if (cut.ties > 0 && i_any(v_equal(a, least)))
            for (int64_t j = i; j < i + m; j++)
                if (x[j] == cut.least && cut.ties-- > 0) y[j] = x[j];
    }
}

static void row_drop(float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = -INFINITY;
}

/* --- finding the cut ------------------------------------------------------------------------------------------- */

/* Return the sum of exp(x - max) over x > least; without a max, the number of such x. */
static double weigh_above(const float *x, int64_t n, float least, const float *max) {
    const v16 bound = v_set(least), top = v_set(max ? *max : 0), none = v_set(0);
    d16 sum = d_set(0);
    for (int64_t i = 0; i < n; i += 16) {
        v16 a = v_load_partial(x + i, n - i, -INFINITY);
        v16 weight = max ? v_exp(v_sub(a, top)) : v_set(1);
        sum = d_add(sum, d_widen(v_select(v_less(bound, a), weight, none)));
    }
    return d_sum(sum);
}

struct range { float low, high; };

static struct range row_range(const float *x, int64_t n) {
    v16 low = v_set(INFINITY), high = v_set(-INFINITY);
    for (int64_t i = 0; i < n; i += 16) {
        v16 a = v_load_partial(x + i, n - i, INFINITY), b = v_load_partial(x + i, n - i, -INFINITY);
        low = v_select(v_less(a, low), a, low);
        high = v_max(high, b);
    }
    return (struct range){-v_max_lane(v_sub(v_set(0), low)), v_max_lane(high)}; /* NaN is ignored */
}

/* Return a number between low and high such that some numbers are above it and some are not. */
static float middle(struct range range) {
    float low = range.low, high = range.high, mid = low * 0.5f + high * 0.5f;
    if (mid >= low && mid < high) return mid;
    return low < FLT_MAX && high > FLT_MAX ? FLT_MAX : low; /* separate an infinity; the rest can be halved */
}

/* Find the logit at which the weights of the n logits x, summed from the largest on, reach the target. x is
 * overwritten. */
static struct cut find_cut(float *x, int64_t n, double target, const float *max) {
    double above = 0;
    struct range range = row_range(x, n);
    while (range.low < range.high) {
        float mid = middle(range);
        double upper = weigh_above(x, n, mid, max);
        int inside = above + upper >= target;
        int64_t left = 0;
        for (int64_t i = 0; i < n; i++) {
            float a = x[i];
            x[left] = a;
            left += (a > mid) == inside;
        }
        if (!inside) above += upper;
        n = left;
        range = row_range(x, n);
    }
    double each = weigh_above(x, 1, -INFINITY, max);
    struct cut cut = {.least = range.low};
    while (cut.ties < n && above < target) { /* keep one more: those before it weigh less than the target */
        above += each;
        cut.ties++;
    }
    return cut;
}

/* --- top_k ----------------------------------------------------------------------------------------------------- */

/* Copy the numbers that are at least `bound`, without -inf and NaN; return how many there are. */
static int64_t collect_k(float *y, const float *x, int64_t n, float bound) {
    int64_t count = 0, i = 0;
    for (; i < n; i += 16) {
        int64_t m = i64_min(n - i, 16);
        v16 a = v_load_partial(x + i, m, -INFINITY);
        if (!i_any(i_or(v_less(v_set(bound), a), v_equal(v_set(bound), a)))) continue;
        for (int64_t j = i; j < i + m; j++) {
            y[count] = x[j];
            count += x[j] >= bound && x[j] > -INFINITY;
        }
    }
    return count;
}

/* Return a number that at least k of the n logits reach: the k-th largest maximum of groups of 16. y is scratch. */
static float bound_of_k(float *y, const float *x, int64_t n, int64_t k) {
    int64_t maxima = n / 256 * 16;
    if (k > maxima / 2) return -INFINITY;
    for (int64_t i = 0; i < maxima; i += 16) {
        v16 m = v_load(x + 16 * i);
        for (int j = 1; j < 16; j++) m = v_max(m, v_load(x + 16 * i + 16 * j));
        v_store(y + i, v_select(v_equal(m, m), m, v_set(-INFINITY)));
    }
    return find_cut(y, maxima, (double)k, NULL).least;
}

static void top_k_row(const struct sample_job *job, int64_t row) {
    int64_t n = job->n, k = job->k;
    const float *x = job->x + row * n;
    float *y = job->y + row * n;
    int64_t found = collect_k(y, x, n, bound_of_k(y, x, n, k));
    if (found >= k) {
        row_keep(y, x, n, find_cut(y, found, (double)k, NULL));
        return;
    }
    /* Keep all numbers; NaN ranks last, so keep as many NaN as still fit. */
    for (int64_t i = 0; i < n; i++) k -= x[i] == x[i];
    for (int64_t i = 0; i < n; i++) y[i] = x[i] == x[i] || k-- > 0 ? x[i] : -INFINITY;
}
BY_ROWS(top_k, struct sample_job, n ? rows : 0, 16384 / (n + 1),
        (float *y, const float *x, int64_t k, int64_t rows, int64_t n),
        .y = y, .x = x, .n = n, .k = k)

/* --- top_p ----------------------------------------------------------------------------------------------------- */

/* y = exp(x - max); returns the sum. */
static double exp_and_sum(float *y, const float *x, int64_t n, float max) {
    const v16 top = v_set(max);
    d16 sum = d_set(0);
    for (int64_t i = 0; i < n; i += 16) {
        v16 e = v_exp(v_sub(v_load_partial(x + i, n - i, -INFINITY), top));
        v_store_partial(y + i, n - i, e);
        sum = d_add(sum, d_widen(e));
    }
    return d_sum(sum);
}

/* Replace the weights in y by the logits x whose weight is above the bound; return how many there are. */
static int64_t collect_p(float *y, const float *x, int64_t n, float bound) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i += 16) {
        int64_t m = i64_min(n - i, 16);
        if (!i_any(v_less(v_set(bound), v_load_partial(y + i, m, 0)))) continue;
        for (int64_t j = i; j < i + m; j++) {
            int kept = y[j] > bound;
            y[count] = x[j];
            count += kept;
        }
    }
    return count;
}

static void top_p_row(const struct sample_job *job, int64_t row) {
    int64_t n = job->n;
    const float *x = job->x + row * n;
    float *y = job->y + row * n, max = row_range(x, n).high;
    double sum = max == -INFINITY ? 0 : exp_and_sum(y, x, n, max);
    if (!(sum > 0)) { /* all masked, or NaN or +inf somewhere: no token has a probability */
        row_drop(y, n);
        return;
    }
    float bound = (float)((1 - job->p) * sum / (double)n * 0.999); /* a little less, for rounding */
    int64_t found = collect_p(y, x, n, bound);
    row_keep(y, x, n, find_cut(y, found, job->p * sum, &max));
}
BY_ROWS(top_p, struct sample_job, n ? rows : 0, 4096 / (n + 1),
        (float *y, const float *x, double p, int64_t rows, int64_t n),
        .y = y, .x = x, .n = n, .p = p)

/* --- min_p, repetition_penalty --------------------------------------------------------------------------------- */

static int has_nan(const float *x, int64_t n) {
    i16 good = i_set(-1);
    for (int64_t i = 0; i < n; i += 16) {
        v16 a = v_load_partial(x + i, n - i, 0);
        good = i_and(good, v_equal(a, a));
    }
    return i_any(i_sub(i_set(-1), good));
}

/* Compare x >= max + log p, which is the same as exp(x) >= p exp(max), so that no exponential is needed. */
static void min_p_row(const struct sample_job *job, int64_t row) {
    int64_t n = job->n;
    const float *x = job->x + row * n;
    float max = row_range(x, n).high;
    if (max == INFINITY || has_nan(x, n)) {
        row_drop(job->y + row * n, n);
        return;
    }
    double bound = (double)max + log(job->p);
    float least = (float)bound;
    if ((double)least < bound) least = nextafterf(least, INFINITY);
    row_keep(job->y + row * n, x, n, (struct cut){.least = least, .ties = n});
}
BY_ROWS(min_p, struct sample_job, n ? rows : 0, 16384 / (n + 1),
        (float *y, const float *x, double p, int64_t rows, int64_t n),
        .y = y, .x = x, .n = n, .p = p)

/* Every row has `used` ids of its own; if an id occurs twice, the same result is written twice. */
static void repetition_penalty(float *y, const float *x, const int64_t *ids, float penalty, int64_t rows, int64_t n,
                               int64_t used) {
    memcpy(y, x, (size_t)(rows * n) * sizeof(float));
    for (int64_t i = 0; i < rows * used; i++) {
        int64_t at = i / used * n + ids[i];
        y[at] = x[at] > 0 ? x[at] / penalty : x[at] * penalty;
    }
}

/* --- sample ---------------------------------------------------------------------------------------------------- */

struct draw_job { int64_t *ids; const float *probs; const double *u; int64_t n; };

/* Return the sum of the block that starts at `begin` and ends at n at the latest. */
static double block_sum(const float *p, int64_t begin, int64_t n) {
    return double_sum(p + begin, i64_min(n - begin, SAMPLE_BLOCK));
}

/* Draw an id, or -1 when the total is not positive and finite. */
static int64_t draw(const float *p, int64_t n, double u) {
    double total = 0, reached = 0, sum;
    for (int64_t i = 0; i < n; i += SAMPLE_BLOCK) total += block_sum(p, i, n);
    if (!(total > 0 && total < INFINITY)) return -1;
    double aim = u > 0 ? u * total : 0;
    if (!(aim < total)) aim = nextafter(total, 0); /* u * total may round up to total, which no sum exceeds */
    int64_t i = 0, last = -1;
    for (;; i += SAMPLE_BLOCK) { /* the loop ends, because the same sums reached `total` above */
        sum = block_sum(p, i, n);
        if (reached + sum > aim) break;
        reached += sum;
    }
    for (int64_t end = i64_min(n, i + SAMPLE_BLOCK); i < end; i++) {
        if (!(p[i] > 0)) continue;
        last = i;
        reached += (double)p[i];
        if (reached > aim) break;
    }
    return last; /* rounding may leave all sums below the aim: then take the block's last token with a probability */
}

static void sample_row(const struct draw_job *job, int64_t row) {
    job->ids[row] = draw(job->probs + row * job->n, job->n, job->u[row]);
}
BY_ROWS(sample, struct draw_job, rows, 16384 / (n + 1),
        (int64_t *ids, const float *probs, const double *u, int64_t rows, int64_t n),
        .ids = ids, .probs = probs, .u = u, .n = n)
