/* attention: y[s] = sum over keys t of softmax(q[s] . k[t] / sqrt(D)) * v[t], for each batch row and head.
 *
 * The spec stores all S x T scores. Here a block of queries reads BLOCK keys at a time and keeps, for each query, the
 * largest score so far, the sum of exp(score - largest) and the weighted sum of values; when a larger score comes,
 * both sums are scaled down (the online softmax: Milakov and Gimelshein 2018; Dao et al. 2022). Memory is linear in
 * the length, scores never leave the cache, and blocks of keys that no query of a task sees are skipped.
 *
 * Bits: key blocks start at multiples of BLOCK, counted from the first key, and a hidden key adds exactly zero. So a
 * query's result depends only on the keys it sees: not on later keys, nor on which queries are computed in one call.
 *
 * Ranges: the general form gives each query a first key and an end, and may add a bias to the scores. Causal masks,
 * lengths, windows, packed documents and prefixes are all such ranges. A hidden score is -inf. With a bias, scores are
 * scaled before the bias is added. All other code is the same for both forms, and plain attention is not slowed down.
 *
 * The backward pass computes the probabilities again, p = exp(score - lse), from the log-sum-exp that forward kept:
 *
 *     dv = p^T dy,   ds = p * (dy v^T - dy . y) / sqrt(D),   dq = ds k,   dk = ds^T q
 */

/* BLOCK: keys per block. QUERIES: queries per task. STRIP: queries multiplied together. STRIP is the same on every CPU,
 * because results may depend on it: a hidden key has weight 0, but if its value is NaN, the product is NaN. */
enum { BLOCK = 64, QUERIES = 128, STRIP = 12 };

struct attention_job {
    float *y, *lse_out, *dq, *dk, *dv;
    const float *q, *k, *v, *dy, *y_in, *lse;
    const uint16_t *half_k, *half_v; /* keys and values as bfloat16, in place of k and v, or NULL */
    const int64_t *lengths;
    const int64_t *starts, *ends; /* B x S: the keys of each query, in the general form, else NULL */
    const float *bias;            /* H x bias_rows x T, bias_rows being 1 or S, or NULL */
    float *dbias;
    int64_t bias_rows;
    int64_t B, S, T, H, K, D;
    int64_t width, query_blocks; /* D rounded up to whole panels; number of blocks of queries */
    float scale;
    int causal, failed; /* failed: a thread found no memory */
};

static int64_t round_up(int64_t n, int64_t unit) { return ceil_div(n, unit) * unit; }
static int64_t keys_of(const struct attention_job *job, int64_t b) { return job->lengths ? job->lengths[b] : job->T; }

/* Return how many of the `keys` keys from `first` on lie before the end of the range of query s of row b. */
static int64_t seen(const struct attention_job *job, int64_t b, int64_t s, int64_t first, int64_t keys) {
    if (job->ends) return i64_max(0, i64_min(keys, job->ends[b * job->S + s] - first));
    return job->causal ? i64_max(0, i64_min(keys, keys_of(job, b) - job->S + s + 1 - first)) : keys;
}

/* Return how many keys at the start of this block are hidden from query s by its range; at most what `seen` returns. */
static int64_t skipped(const struct attention_job *job, int64_t b, int64_t s, int64_t first, int64_t keys) {
    return job->ends ? i64_max(0, i64_min(seen(job, b, s, first, keys), job->starts[b * job->S + s] - first)) : 0;
}

/* Return one more than the last key of this block that any of `rows` queries from s on sees, or 0. */
static int64_t seen_by_any(const struct attention_job *job, int64_t b, int64_t s, int64_t rows, int64_t first,
                           int64_t keys) {
    int64_t most = job->ends ? 0 : seen(job, b, s + rows - 1, first, keys); /* the last query sees most */
    for (int64_t r = s; job->ends && r < s + rows; r++) {
        int64_t end = seen(job, b, r, first, keys);
        if (end > most && skipped(job, b, r, first, keys) < end) most = end;
    }
    return most;
}

/* Return the first block that has a key which one of these queries may see. */
static int64_t first_block(const struct attention_job *job, int64_t b, int64_t s, int64_t rows) {
    int64_t least = job->ends && rows ? job->T : 0;
    for (int64_t r = s; job->ends && r < s + rows; r++) least = i64_min(least, job->starts[b * job->S + r]);
    return i64_max(least, 0) / BLOCK * BLOCK;
}

/* Hide a row's scores of skipped keys, and add the bias to the others up to `end`. Return the scale that the
 * caller has to apply: 1 with a bias, because scores are scaled before it is added. */
static float mask_and_bias(const struct attention_job *job, int64_t b, int64_t h, int64_t s, int64_t first,
                           float *score, int64_t end) {
    float scale = job->scale;
    if (job->bias) {
        const float *bias = job->bias + (h * job->bias_rows + s % job->bias_rows) * job->T + first;
        for (int64_t j = 0; j < end; j++) score[j] = score[j] * scale + bias[j];
        scale = 1.0f;
    }
    for (int64_t j = skipped(job, b, s, first, end) - 1; j >= 0; j--) score[j] = -INFINITY;
    return scale;
}

static float *workspace(struct attention_job *job, int64_t floats) {
    float *work = pool_take((size_t)floats * sizeof *work);
    if (!work) __atomic_store_n(&job->failed, 1, __ATOMIC_RELAXED);
    return work;
}

/* Return D numbers for each of `keys` keys (or values), from number `at` of x on. If they are bfloat16 numbers, `half`,
 * they are widened into `own`, so that all that follows has the same bits; then keys lie D apart, not K * D. */
static const float *floats_of(const struct attention_job *job, const float *x, const uint16_t *half, int64_t at,
                              int64_t keys, float *own) {
    int64_t D = job->D;
    if (!half) return x + at;
    for (int64_t t = 0; t < keys; t++) {
        const uint16_t *from = half + at + t * job->K * D;
        int64_t d = 0;
        for (; d + 16 <= D; d += 16) v_store(own + t * D + d, v_load_halves(from + d));
        for (; d < D; d++) own[t * D + d] = from_half(from[d]);
    }
    return own;
}

/* --- forward -------------------------------------------------------------------------------------------- */

struct query { float max, sum; }; /* the largest score so far (-inf at first), and the sum of exp(score - max) */

/* Turn the first 16 * n scores of a row into weights exp(score - max); those from `visible` on are hidden. Return the
 * factor for sums computed with an older max: 1 if the max is the same. n is a constant where this is inlined. */
INLINE float online_softmax_update(int n, float *score, int64_t visible, float scale, struct query *query) {
    v16 part[BLOCK / 16], max = v_set(-INFINITY);
    for (int64_t j = visible; j < 16 * n; j++) score[j] = -INFINITY;
    for (int i = 0; i < n; i++) {
        part[i] = v_mul(v_load(score + 16 * i), v_set(scale));
        max = v_max(max, part[i]);
    }
    float old = query->max, new = v_max_lane(max);
    if (old > new) new = old;
    float base = new == -INFINITY ? 0.0f : new; /* no key yet: exp(-inf - 0) is 0, and a NaN stays */
    for (int i = 0; i < BLOCK / 16; i++) {
        part[i] = i < n ? v_exp(v_sub(part[i], v_set(base))) : v_set(0.0f);
        v_store(score + 16 * i, part[i]);
    }
    float sum = v_sum(v_add(v_add(part[0], part[1]), v_add(part[2], part[3])));
    float rescale = old == new ? 1.0f : old == -INFINITY && base == base ? 0.0f : one_exp(old - base);
    query->max = new;
    query->sum = query->sum * rescale;
    query->sum += sum;
    return rescale;
}

/* Do the same for a row of BLOCK scores; groups of sixteen scores that are all hidden are skipped. */
static float online_softmax(float *score, int64_t visible, float scale, struct query *query) {
    switch ((visible + 15) / 16) {
        case 0:
        case 1: return online_softmax_update(1, score, visible, scale, query);
        case 2: return online_softmax_update(2, score, visible, scale, query);
        case 3: return online_softmax_update(3, score, visible, scale, query);
        default: return online_softmax_update(4, score, visible, scale, query);
    }
}

static void rescale_row(float *y, float rescale, int64_t width) {
    if (rescale == 1.0f) return;
    for (int64_t d = 0; d < width; d += 16) v_store(y + d, v_mul(v_load(y + d), v_set(rescale)));
}

/* Write a query's sum of values, divided by the sum of its weights, to out; return the log-sum-exp of its scores. */
static float finish_row(float *out, const float *y, struct query query, int64_t D) {
    float inverse = query.sum == 0.0f ? 0.0f : 1.0f / query.sum;
    for (int64_t d = 0; d < D; d++) out[d] = y[d] * inverse;
    return query.sum == 0.0f ? -INFINITY : (query.max == -INFINITY ? 0.0f : query.max) + one_log(query.sum);
}

/* Compute attention for `rows` queries of head h from s on; y (QUERIES x width) collects the weighted values. */
static void attend_block(const struct attention_job *job, int64_t b, int64_t h, int64_t s, int64_t rows, float *y,
                      struct query *query, float *work) {
    int64_t D = job->D, width = job->width, n = keys_of(job, b);
    int64_t kv_row = job->K * D, kv = b * job->T * kv_row + h / (job->H / job->K) * D;
    int64_t apart = job->half_k ? D : kv_row;
    const float *q = job->q + ((b * job->S + s) * job->H + h) * D;
    float *k_turned = work, *v = work + D * BLOCK, *score = v + BLOCK * width; /* D x BLOCK, BLOCK x width */
    float *own = score + STRIP * BLOCK;                                      /* BLOCK x D, for bfloat16 */
    int64_t end = seen_by_any(job, b, s, rows, 0, n);
    for (int64_t first = first_block(job, b, s, rows); first < end; first += BLOCK) {
        int64_t keys = i64_min(n - first, BLOCK);
        const float *from = floats_of(job, job->k, job->half_k, kv + first * kv_row, keys, own);
        transpose_into(k_turned, BLOCK, from, apart, keys, D, BLOCK);
        from = floats_of(job, job->v, job->half_v, kv + first * kv_row, keys, own);
        pad_into(v, width, from, apart, keys, D);
        for (int64_t r = 0; r < rows; r += STRIP) {
            int64_t height = i64_min(rows - r, STRIP), last = seen_by_any(job, b, s + r, height, first, keys);
            if (last == 0) continue;
            tile_product(score, BLOCK, q + r * job->H * D, job->H * D, 1, k_turned, BLOCK, height,
                         round_up(last, COLUMNS), D, 0);
            for (int64_t i = 0; i < height; i++) {
                int64_t row = s + r + i, end = seen(job, b, row, first, last);
                float scale = job->ends ? mask_and_bias(job, b, h, row, first, score + i * BLOCK, end) : job->scale;
                rescale_row(y + (r + i) * width, online_softmax(score + i * BLOCK, end, scale, &query[r + i]), width);
            }
            tile_product(y + r * width, width, score, BLOCK, 1, v, width, height, width, last, 1);
        }
    }
}

static void attention_tasks(void *context, int64_t begin, int64_t end) {
    struct attention_job *job = context;
    int64_t D = job->D, width = job->width;
    float *work = workspace(job, QUERIES * width + 2 * D * BLOCK + BLOCK * width + STRIP * BLOCK);
    if (!work) return;
    for (int64_t task = begin; task < end; task++) {
        int64_t s = task % job->query_blocks * QUERIES, head = task / job->query_blocks;
        int64_t h = head % job->H, b = head / job->H, rows = i64_min(job->S - s, QUERIES);
        struct query query[QUERIES];
        float *y = work;
        memset(y, 0, (size_t)(rows * width) * sizeof *y);
        for (int64_t r = 0; r < rows; r++) query[r] = (struct query){-INFINITY, 0.0f};
        attend_block(job, b, h, s, rows, y, query, work + QUERIES * width);
        for (int64_t r = 0; r < rows; r++) {
            float *out = job->y + ((b * job->S + s + r) * job->H + h) * D;
            job->lse_out[(b * job->H + h) * job->S + s + r] = finish_row(out, y + r * width, query[r], D);
        }
    }
    pool_give(work);
}

#include "attention_decode.h"

/* lengths, starts with ends, and bias may each be NULL; so may k and v if half_k and half_v are given. */
static int attention(float *y, float *lse, const float *q, const float *k, const float *v, const uint16_t *half_k,
                     const uint16_t *half_v, const int64_t *lengths, const int64_t *starts, const int64_t *ends,
                     const float *bias, int64_t bias_rows, int64_t B, int64_t S, int64_t T, int64_t H, int64_t K,
                     int64_t D, float scale, int causal) {
    struct attention_job job = {
        .y = y, .lse_out = lse, .q = q, .k = k, .v = v, .half_k = half_k, .half_v = half_v,
        .lengths = lengths, .starts = starts, .ends = ends, .bias = bias, .bias_rows = bias_rows, .B = B, .S = S,
        .T = T, .H = H, .K = K, .D = D,
        .width = round_up(D, COLUMNS > 16 ? COLUMNS : 16), .query_blocks = ceil_div(S, QUERIES),
        .scale = scale, .causal = causal,
    };
    if (S == 1 && !ends) return attention_decode(&job);
    parallel_for(attention_tasks, &job, B * H * job.query_blocks, 1 + 65536 / (1 + i64_min(S, QUERIES) * T * D));
    return job.failed;
}

/* --- backward ------------------------------------------------------------------------------------------- */

struct backward_work { /* the memory of one task, all in one block of the pool */
    float *k_turned, *v_turned;     /* D x BLOCK */
    float *k, *q, *dy, *dk, *dv;    /* BLOCK x width */
    float *p, *ds;                  /* queries x keys, BLOCK x BLOCK */
    float *dq, *delta;              /* group x S x width; group x S: dy . y */
};

static int64_t backward_size(const struct attention_job *job) {
    return 2 * job->D * BLOCK + 5 * BLOCK * job->width + 2 * BLOCK * BLOCK +
           job->H / job->K * job->S * (job->width + 1);
}

static void lay_out(struct backward_work *w, float *p, const struct attention_job *job) {
    int64_t side = job->D * BLOCK, tile = BLOCK * job->width, group = job->H / job->K;
    w->k_turned = p; p += side;
    w->v_turned = p; p += side;
    w->k = p; p += tile;
    w->q = p; p += tile;
    w->dy = p; p += tile;
    w->dk = p; p += tile;
    w->dv = p; p += tile;
    w->p = p; p += BLOCK * BLOCK;
    w->ds = p; p += BLOCK * BLOCK;
    w->dq = p; p += group * job->S * job->width;
    w->delta = p;
}

static float dot(const float *x, const float *y, int64_t n) {
    v16 sum = v_set(0.0f);
    ROW(i, k, n, sum = v_fma(v_load_partial(x + i, k, 0.0f), v_load_partial(y + i, k, 0.0f), sum);)
    return v_sum(sum);
}

/* Turn a row of scores into p, and a row of dp = dy . v into ds = p (dp - delta) scale; hidden keys get zeros. The
 * scores have not been multiplied by score_scale yet. */
static void backward_row(float *p, float *ds, int64_t visible, float score_scale, float scale, float lse, float delta) {
    int64_t end = round_up(visible, 16);
    for (int64_t j = visible; j < end; j++) p[j] = -INFINITY;
    if (lse == -INFINITY) lse = 0.0f; /* this query sees no key: exp(-inf - 0) = 0 */
    for (int64_t i = 0; i < end; i += 16) {
        v16 weight = v_exp(v_sub(v_mul(v_load(p + i), v_set(score_scale)), v_set(lse)));
        v_store(p + i, weight);
        v_store(ds + i, v_mul(v_mul(weight, v_sub(v_load(ds + i), v_set(delta))), v_set(scale)));
    }
    for (int64_t i = end; i < BLOCK; i += 16) v_store(p + i, v_set(0.0f)), v_store(ds + i, v_set(0.0f));
}

/* Do the same for ranges, with or without a bias: before it is scaled, ds is also the gradient of the bias. */
static void backward_range(const struct attention_job *job, int64_t b, int64_t h, int64_t s, int64_t first, float *p,
                           float *ds, int64_t end, float lse, float delta) {
    float score_scale = mask_and_bias(job, b, h, s, first, p, end);
    backward_row(p, ds, end, score_scale, 1.0f, lse, delta);
    if (job->dbias) {
        float *dbias = job->dbias + (h * job->bias_rows + s % job->bias_rows) * job->T + first;
        for (int64_t j = 0; j < end; j++) dbias[j] += ds[j];
    }
    for (int64_t j = 0; j < end; j++) ds[j] *= job->scale;
}

/* Add to the gradients what one block of queries of one head and the block of keys in w contribute. Strips of queries
 * skip the keys that are hidden from all of them. */
static void backward_tile(const struct attention_job *job, struct backward_work *w, int64_t b, int64_t h, int64_t s,
                          int64_t rows, int64_t first, int64_t keys) {
    int64_t D = job->D, width = job->width, row = job->H * D, at = ((b * job->S + s) * job->H + h) * D;
    int64_t token = keys_of(job, b) - job->S + s, causal = job->causal && !job->ends;
    int64_t local = h % (job->H / job->K) * job->S + s;
    const float *lse = job->lse + (b * job->H + h) * job->S + s;
    pad_into(w->q, width, job->q + at, row, rows, D);
    pad_into(w->dy, width, job->dy + at, row, rows, D);
    for (int64_t r = 0; r < rows; r += STRIP) {
        int64_t height = i64_min(rows - r, STRIP), last = seen_by_any(job, b, s + r, height, first, keys);
        float *p = w->p + r * BLOCK, *ds = w->ds + r * BLOCK;
        int64_t columns = round_up(last, COLUMNS);
        tile_product(p, BLOCK, w->q + r * width, width, 1, w->k_turned, BLOCK, height, columns, D, 0);
        tile_product(ds, BLOCK, w->dy + r * width, width, 1, w->v_turned, BLOCK, height, columns, D, 0);
        for (int64_t i = 0; i < height; i++) {
            int64_t end = seen(job, b, s + r + i, first, last), row = i * BLOCK;
            float delta = w->delta[local + r + i];
            if (job->ends) backward_range(job, b, h, s + r + i, first, p + row, ds + row, end, lse[r + i], delta);
            else backward_row(p + row, ds + row, end, job->scale, job->scale, lse[r + i], delta);
        }
        tile_product(w->dq + (local + r) * width, width, ds, BLOCK, 1, w->k, width, height, width, last, 1);
    }
    for (int64_t m = 0; m < keys; m += STRIP) {
        int64_t height = i64_min(keys - m, STRIP); /* queries before `from` see none of these keys */
        int64_t from = causal ? i64_min(i64_max(first + m - token, 0), rows) : 0, at_from = from * width;
        tile_product(w->dv + m * width, width, w->p + from * BLOCK + m, 1, BLOCK, w->dy + at_from, width, height, width,
                     rows - from, 1);
        tile_product(w->dk + m * width, width, w->ds + from * BLOCK + m, 1, BLOCK, w->q + at_from, width, height, width,
                     rows - from, 1);
    }
}

/* Compute the gradients of one kv head of one batch row, from each block of keys with each block of queries. */
static void backward_head(const struct attention_job *job, struct backward_work *w, int64_t b, int64_t kv) {
    int64_t D = job->D, width = job->width, group = job->H / job->K, n = keys_of(job, b), S = job->S;
    int64_t kv_row = job->K * D, base = b * job->T * kv_row + kv * D;
    memset(w->dq, 0, (size_t)(group * S * width) * sizeof *w->dq);
    for (int64_t i = 0; i < group * S; i++) {
        int64_t at = ((b * S + i % S) * job->H + kv * group + i / S) * D;
        w->delta[i] = dot(job->dy + at, job->y_in + at, D);
    }
    for (int64_t first = 0; first < job->T; first += BLOCK) {
        int64_t keys = i64_max(0, i64_min(n - first, BLOCK)), rows = i64_min(job->T - first, BLOCK);
        transpose_into(w->k_turned, BLOCK, job->k + base + first * kv_row, kv_row, keys, D, BLOCK);
        transpose_into(w->v_turned, BLOCK, job->v + base + first * kv_row, kv_row, keys, D, BLOCK);
        pad_into(w->k, width, job->k + base + first * kv_row, kv_row, keys, D);
        memset(w->dk, 0, (size_t)(BLOCK * width) * sizeof *w->dk);
        memset(w->dv, 0, (size_t)(BLOCK * width) * sizeof *w->dv);
        for (int64_t i = 0; i < group * ceil_div(S, BLOCK) && keys > 0; i++) {
            int64_t s = i % ceil_div(S, BLOCK) * BLOCK, height = i64_min(S - s, BLOCK);
            if (seen_by_any(job, b, s, height, first, keys) > 0)
                backward_tile(job, w, b, kv * group + i / ceil_div(S, BLOCK), s, height, first, keys);
        }
        for (int64_t t = 0; t < rows; t++) {
            memcpy(job->dk + base + (first + t) * kv_row, w->dk + t * width, (size_t)D * sizeof *w->dk);
            memcpy(job->dv + base + (first + t) * kv_row, w->dv + t * width, (size_t)D * sizeof *w->dv);
        }
    }
    for (int64_t i = 0; i < group * S; i++)
        memcpy(job->dq + ((b * S + i % S) * job->H + kv * group + i / S) * D, w->dq + i * width,
               (size_t)D * sizeof *w->dq);
}

/* A task is one kv head of one batch row; with a bias of all rows, because its gradient is their sum, in order. */
static void backward_tasks(void *context, int64_t begin, int64_t end) {
    struct attention_job *job = context;
    struct backward_work w;
    float *work = workspace(job, backward_size(job));
    if (!work) return;
    lay_out(&w, work, job);
    int64_t floats = job->H / job->K * job->bias_rows * job->T; /* of dbias for one kv head */
    if (job->dbias) memset(job->dbias + begin * floats, 0, (size_t)((end - begin) * floats) * sizeof *job->dbias);
    for (int64_t task = begin; task < end; task++) {
        int64_t b = job->dbias ? 0 : task / job->K, stop = job->dbias ? job->B : b + 1;
        for (; b < stop; b++) backward_head(job, &w, b, task % job->K);
    }
    pool_give(work);
}

static int attention_backward(float *dq, float *dk, float *dv, float *dbias, const float *dy, const float *q,
                              const float *k, const float *v, const float *y, const float *lse, const int64_t *lengths,
                              const int64_t *starts, const int64_t *ends, const float *bias, int64_t bias_rows,
                              int64_t B, int64_t S, int64_t T, int64_t H, int64_t K, int64_t D, float scale,
                              int causal) {
    struct attention_job job = {
        .dq = dq, .dk = dk, .dv = dv, .dbias = dbias, .dy = dy, .q = q, .k = k, .v = v, .y_in = y, .lse = lse,
        .lengths = lengths, .starts = starts, .ends = ends, .bias = bias, .bias_rows = bias_rows, .B = B, .S = S,
        .T = T, .H = H, .K = K, .D = D, .width = round_up(D, COLUMNS > 16 ? COLUMNS : 16), .scale = scale,
        .causal = causal,
    };
    int64_t tasks = dbias ? K : B * K, terms = (dbias ? B : 1) * S * T * D * (H / K);
    parallel_for(backward_tasks, &job, tasks, 1 + 16384 / (1 + terms));
    return job.failed;
}
