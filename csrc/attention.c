/* attention: y[s] = sum over keys t of softmax(q[s] . k[t] / sqrt(D)) * v[t], for each batch row and head.
 *
 * The spec holds all S x T scores. Here a block of queries meets BLOCK keys at a time and keeps, for each query, the
 * largest score so far, the sum of exp(score - largest) and the weighted sum of values; when a larger score comes,
 * both sums are scaled down (the online softmax: Milakov and Gimelshein 2018; Dao et al. 2022). Memory is linear in
 * the length, scores never leave the cache, and blocks that lie wholly in the future are skipped.
 *
 * Bits: key blocks start at multiples of BLOCK, counted from the first key, and a hidden key adds exactly zero. So a
 * query's result depends only on the keys it sees: not on later keys, on the chunk it arrived in, or on a cache.
 *
 * The backward pass computes the probabilities anew, p = exp(score - lse), from the log-sum-exp that forward kept:
 *
 *     dv = p^T dy,   ds = p * (dy v^T - dy . y) / sqrt(D),   dq = ds k,   dk = ds^T q
 */

/* Keys in a block; queries in a task; queries that meet a block together, at every level as many: the weight of a key
 * that only some of them see is 0 for the others, and 0 times a NaN is NaN. */
enum { BLOCK = 64, QUERIES = 128, STRIP = 12 };

struct attention_job {
    float *y, *lse_out, *dq, *dk, *dv;
    const float *q, *k, *v, *dy, *y_in, *lse;
    const int64_t *lengths;
    int64_t B, S, T, H, K, D;
    int64_t width, query_blocks; /* D rounded up to whole panels; blocks of queries */
    float scale;
    int causal, failed; /* failed: a thread found no memory */
};

static int64_t round_up(int64_t n, int64_t unit) { return ceil_div(n, unit) * unit; }
static int64_t keys_of(const struct attention_job *job, int64_t b) { return job->lengths ? job->lengths[b] : job->T; }

/* How many of `keys` keys from `first` on the query that is token `token` may see. */
static int64_t seen(const struct attention_job *job, int64_t token, int64_t first, int64_t keys) {
    return job->causal ? larger(0, smaller(keys, token + 1 - first)) : keys;
}

static float *workspace(struct attention_job *job, int64_t floats) {
    float *work = pool_take((size_t)floats * sizeof *work);
    if (!work) __atomic_store_n(&job->failed, 1, __ATOMIC_RELAXED);
    return work;
}

/* --- forward -------------------------------------------------------------------------------------------- */

struct query { float max, sum; }; /* the largest score so far (0 while there is none), the sum of exp(score - max) */

/* Turn one row of BLOCK scores into weights exp(score - max) -> by what the values summed before under an older max
 * shrink, 1 when there is no new max. */
static float online_softmax(float *score, int64_t visible, float scale, struct query *query) {
    v16 part[BLOCK / 16], max = v_set(-INFINITY);
    for (int64_t j = visible; j < BLOCK; j++) score[j] = -INFINITY;
    for (int i = 0; i < BLOCK / 16; i++) {
        part[i] = v_mul(v_load(score + 16 * i), v_set(scale));
        max = v_max(max, part[i]);
    }
    float old = query->max, new = v_max_lane(max);
    if (old > new) new = old;
    float base = new == -INFINITY ? 0.0f : new; /* no key yet: exp(-inf - 0) is 0, and a NaN stays */
    for (int i = 0; i < BLOCK / 16; i++) {
        part[i] = v_exp(v_sub(part[i], v_set(base)));
        v_store(score + 16 * i, part[i]);
    }
    float sum = v_sum(v_add(v_add(part[0], part[1]), v_add(part[2], part[3])));
    float shrink = old != new ? one_exp(old - base) : 1.0f;
    query->max = new;
    query->sum = query->sum * shrink;
    query->sum += sum;
    return shrink;
}

static void shrink_row(float *y, float shrink, int64_t width) {
    if (shrink == 1.0f) return;
    for (int64_t d = 0; d < width; d += 16) v_store(y + d, v_mul(v_load(y + d), v_set(shrink)));
}

/* What one query read, and the log-sum-exp of its scores. */
static float finish_row(float *out, const float *y, struct query query, int64_t D) {
    float inverse = query.sum == 0.0f ? 0.0f : 1.0f / query.sum;
    for (int64_t d = 0; d < D; d++) out[d] = y[d] * inverse;
    return query.sum == 0.0f ? -INFINITY : (query.max == -INFINITY ? 0.0f : query.max) + one_log(query.sum);
}

/* `rows` queries of head h from s on, against all keys they see; y (QUERIES x width) collects the weighted values. */
static void meet_keys(const struct attention_job *job, int64_t b, int64_t h, int64_t s, int64_t rows, float *y,
                      struct query *query, float *work) {
    int64_t D = job->D, width = job->width, n = keys_of(job, b), token = n - job->S + s;
    int64_t kv_row = job->K * D, kv = b * job->T * kv_row + h / (job->H / job->K) * D;
    const float *q = job->q + ((b * job->S + s) * job->H + h) * D;
    float *k_turned = work, *v = work + D * BLOCK, *score = v + BLOCK * width; /* D x BLOCK, BLOCK x width */
    int64_t end = seen(job, token + rows - 1, 0, n);
    for (int64_t first = 0; first < end; first += BLOCK) {
        int64_t keys = smaller(n - first, BLOCK);
        transpose_into(k_turned, BLOCK, job->k + kv + first * kv_row, kv_row, keys, D, BLOCK);
        pad_into(v, width, job->v + kv + first * kv_row, kv_row, keys, D);
        for (int64_t r = 0; r < rows; r += STRIP) {
            int64_t height = smaller(rows - r, STRIP), last = seen(job, token + r + height - 1, first, keys);
            if (last == 0) continue;
            tile_product(score, BLOCK, q + r * job->H * D, job->H * D, 1, k_turned, BLOCK, height, BLOCK, D, 0);
            for (int64_t i = 0; i < height; i++)
                shrink_row(y + (r + i) * width,
                           online_softmax(score + i * BLOCK, seen(job, token + r + i, first, keys), job->scale,
                                          &query[r + i]), width);
            tile_product(y + r * width, width, score, BLOCK, 1, v, width, height, width, last, 1);
        }
    }
}

static void attention_tasks(void *context, int64_t begin, int64_t end) {
    struct attention_job *job = context;
    int64_t D = job->D, width = job->width;
    float *work = workspace(job, QUERIES * width + D * BLOCK + BLOCK * width + STRIP * BLOCK);
    if (!work) return;
    for (int64_t task = begin; task < end; task++) {
        int64_t s = task % job->query_blocks * QUERIES, head = task / job->query_blocks;
        int64_t h = head % job->H, b = head / job->H, rows = smaller(job->S - s, QUERIES);
        struct query query[QUERIES];
        float *y = work;
        memset(y, 0, (size_t)(QUERIES * width) * sizeof *y);
        for (int64_t r = 0; r < rows; r++) query[r] = (struct query){-INFINITY, 0.0f};
        meet_keys(job, b, h, s, rows, y, query, work + QUERIES * width);
        for (int64_t r = 0; r < rows; r++) {
            float *out = job->y + ((b * job->S + s + r) * job->H + h) * D;
            job->lse_out[(b * job->H + h) * job->S + s + r] = finish_row(out, y + r * width, query[r], D);
        }
    }
    pool_give(work);
}

/* --- one query ------------------------------------------------------------------------------------------ */

/* Decoding has one query for each head, and its time is that of reading keys and values once. Above, a task is a head
 * and picks 256 bytes of each key, which no prefetcher foresees; here a task is a stretch of keys and reads all heads of
 * it as they lie in memory, so that even a single row keeps all threads busy. Three passes, the same sums as above:
 *
 *     scores of 16 keys at a time;    weights and the running max, head by head;
 *     for each block of keys, the weighted sum of its values; and these added in the order of blocks.
 */
enum { STEP = 16 }; /* keys in a task of scores */

struct decode_job {
    struct attention_job *job;
    int64_t blocks, steps;  /* of the longest row */
    float *weight;          /* B x H x blocks * BLOCK: scores, then weights */
    float *shrink, *sums;   /* B x H x blocks; B x blocks x H x padded */
    struct query *query;    /* B x H */
    int64_t padded;         /* D, rounded up to sixteen */
};

/* Scores of STEP keys for `heads` (a constant) queries that share them; `gap` from one query's to the next. */
INLINE void step_scores(int heads, float *score, int64_t gap, const float *q, const float *k, int64_t row, int64_t D) {
    v16 sum[FEW];
    turned_sums(heads, sum, q, D, 1, k, row, D);
    for (int h = 0; h < heads; h++) v_store(score + h * gap, sum[h]);
}

static void decode_scores(void *context, int64_t begin, int64_t end) {
    const struct decode_job *decode = context;
    struct attention_job *job = decode->job;
    int64_t D = job->D, group = job->H / job->K, row = job->K * D, gap = decode->blocks * BLOCK, together;
    float *last = workspace(job, STEP * row);
    if (!last) return;
    for (int64_t task = begin; task < end; task++) {
        int64_t b = task / decode->steps, first = task % decode->steps * STEP, keys = keys_of(job, b) - first;
        if (keys <= 0) continue;
        const float *k = job->k + (b * job->T + first) * row;
        if (keys < STEP) { /* there may be nothing behind them to read */
            memset(last + keys * row, 0, (size_t)((STEP - keys) * row) * sizeof *last);
            k = memcpy(last, k, (size_t)(keys * row) * sizeof *last);
        }
        for (int64_t h = 0; h < job->H; h += together) {
            const float *q = job->q + (b * job->H + h) * D, *mine = k + h / group * D;
            float *score = decode->weight + (b * job->H + h) * gap + first;
            together = h % group + FEW <= group ? FEW : 1;
            if (together == FEW) step_scores(FEW, score, gap, q, mine, row, D);
            else step_scores(1, score, gap, q, mine, row, D);
        }
    }
    pool_give(last);
}

static void decode_weights(void *context, int64_t begin, int64_t end) {
    const struct decode_job *decode = context;
    const struct attention_job *job = decode->job;
    for (int64_t head = begin; head < end; head++) {
        struct query query = {-INFINITY, 0.0f};
        int64_t n = keys_of(job, head / job->H);
        for (int64_t first = 0; first < n; first += BLOCK)
            decode->shrink[head * decode->blocks + first / BLOCK] =
                online_softmax(decode->weight + head * decode->blocks * BLOCK + first, smaller(n - first, BLOCK),
                               job->scale, &query);
        decode->query[head] = query;
    }
}

/* y[d] += weight[0] * v[0][d] + ..., one key after the other, for `keys` keys whose rows lie v_row apart. */
INLINE void weigh(int keys, float *y, const float *weight, const float *v, int64_t v_row, int64_t D) {
    int64_t d = 0;
    for (; d + LANES <= D; d += LANES) {
        vec sum = vec_load(y + d);
        for (int j = 0; j < keys; j++) prefetch_beyond(v, (j + FEW_AHEAD) * v_row + d);
        for (int j = 0; j < keys; j++) sum = vec_fma(vec_set(weight[j]), vec_load(v + j * v_row + d), sum);
        vec_store(y + d, sum);
    }
    for (; d < D; d++)
        for (int j = 0; j < keys; j++) y[d] = fmaf(weight[j], v[j * v_row + d], y[d]);
}

static void decode_values(void *context, int64_t begin, int64_t end) {
    const struct decode_job *decode = context;
    const struct attention_job *job = decode->job;
    int64_t D = job->D, group = job->H / job->K, row = job->K * D;
    for (int64_t task = begin; task < end; task++) {
        int64_t b = task / decode->blocks, first = task % decode->blocks * BLOCK;
        int64_t keys = smaller(keys_of(job, b) - first, BLOCK);
        if (keys <= 0) continue;
        float *sums = decode->sums + task * job->H * decode->padded;
        memset(sums, 0, (size_t)(job->H * decode->padded) * sizeof *sums);
        const float *weight = decode->weight + b * job->H * decode->blocks * BLOCK + first;
        for (int64_t t = 0; t < keys; t += 4) {
            const float *v = job->v + (b * job->T + first + t) * row;
            for (int64_t h = 0; h < job->H; h++) {
                float *y = sums + h * decode->padded;
                const float *w = weight + h * decode->blocks * BLOCK + t, *mine = v + h / group * D;
                if (t + 4 <= keys) weigh(4, y, w, mine, row, D);
                else for (int64_t j = 0; j < keys - t; j++) weigh(1, y, w + j, mine + j * row, row, D);
            }
        }
    }
}

static void decode_sums(void *context, int64_t begin, int64_t end) {
    const struct decode_job *decode = context;
    struct attention_job *job = decode->job;
    int64_t padded = decode->padded;
    float *y = workspace(job, padded);
    if (!y) return;
    for (int64_t head = begin; head < end; head++) {
        int64_t b = head / job->H, h = head % job->H, n = keys_of(job, b);
        memset(y, 0, (size_t)padded * sizeof *y);
        for (int64_t block = 0; block < ceil_div(n, BLOCK); block++) {
            const float *sum = decode->sums + ((b * decode->blocks + block) * job->H + h) * padded;
            shrink_row(y, decode->shrink[head * decode->blocks + block], padded);
            for (int64_t d = 0; d < padded; d += 16) v_store(y + d, v_add(v_load(y + d), v_load(sum + d)));
        }
        job->lse_out[head] = finish_row(job->y + head * job->D, y, decode->query[head], job->D);
    }
    pool_give(y);
}

static int attention_decode(struct attention_job *job) {
    int64_t n = 0, heads = job->B * job->H, row = job->K * job->D;
    for (int64_t b = 0; b < job->B; b++) n = larger(n, keys_of(job, b));
    struct decode_job decode = {.job = job, .blocks = ceil_div(n, BLOCK), .steps = ceil_div(n, STEP),
                                .padded = round_up(job->D, 16)};
    int64_t scores = heads * decode.blocks * BLOCK, sums = heads * decode.blocks * decode.padded;
    float *work = workspace(job, scores + sums + heads * decode.blocks + 2 * heads);
    if (!work) return 1;
    decode.weight = work;
    decode.sums = work + scores;
    decode.shrink = decode.sums + sums;
    decode.query = (struct query *)(decode.shrink + heads * decode.blocks);
    parallel_for(decode_scores, &decode, job->B * decode.steps, 1 + 32768 / (1 + STEP * row));
    parallel_for(decode_weights, &decode, heads, 1 + 2048 / (1 + n));
    parallel_for(decode_values, &decode, job->B * decode.blocks, 1 + 32768 / (1 + BLOCK * row));
    parallel_for(decode_sums, &decode, heads, 1 + 16384 / (1 + decode.blocks * decode.padded));
    pool_give(work);
    return job->failed;
}

static int attention(float *y, float *lse, const float *q, const float *k, const float *v, const int64_t *lengths,
                     int64_t B, int64_t S, int64_t T, int64_t H, int64_t K, int64_t D, float scale, int causal) {
    struct attention_job job = {
        .y = y, .lse_out = lse, .q = q, .k = k, .v = v, .lengths = lengths, .B = B, .S = S, .T = T, .H = H, .K = K,
        .D = D, .width = round_up(D, COLUMNS > 16 ? COLUMNS : 16), .query_blocks = ceil_div(S, QUERIES),
        .scale = scale, .causal = causal,
    };
    if (S == 1) return attention_decode(&job);
    parallel_for(attention_tasks, &job, B * H * job.query_blocks, 1 + 65536 / (1 + smaller(S, QUERIES) * T * D));
    return job.failed;
}

/* --- backward ------------------------------------------------------------------------------------------- */

struct backward_work { /* of one task, all in one block of the pool */
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
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) sum = v_fma(v_load(x + i), v_load(y + i), sum);
    if (i < n) sum = v_fma(v_load_n(x + i, n - i, 0.0f), v_load_n(y + i, n - i, 0.0f), sum);
    return v_sum(sum);
}

/* One row of scores and of dp = dy . v becomes one row of p and of ds. */
static void backward_row(float *p, float *ds, int64_t visible, float scale, float lse, float delta) {
    for (int64_t j = visible; j < BLOCK; j++) p[j] = -INFINITY;
    if (lse == -INFINITY) lse = 0.0f; /* this query sees no key: exp(-inf - 0) = 0 */
    for (int i = 0; i < BLOCK; i += 16) {
        v16 weight = v_exp(v_sub(v_mul(v_load(p + i), v_set(scale)), v_set(lse)));
        v_store(p + i, weight);
        v_store(ds + i, v_mul(v_mul(weight, v_sub(v_load(ds + i), v_set(delta))), v_set(scale)));
    }
}

/* One block of queries of one head against the block of keys in w. */
static void backward_tile(const struct attention_job *job, struct backward_work *w, int64_t b, int64_t h, int64_t s,
                          int64_t rows, int64_t first, int64_t keys) {
    int64_t D = job->D, width = job->width, row = job->H * D, at = ((b * job->S + s) * job->H + h) * D;
    int64_t token = keys_of(job, b) - job->S + s, local = h % (job->H / job->K) * job->S + s;
    const float *lse = job->lse + (b * job->H + h) * job->S + s;
    pad_into(w->q, width, job->q + at, row, rows, D);
    pad_into(w->dy, width, job->dy + at, row, rows, D);
    tile_product(w->p, BLOCK, w->q, width, 1, w->k_turned, BLOCK, rows, BLOCK, D, 0);
    tile_product(w->ds, BLOCK, w->dy, width, 1, w->v_turned, BLOCK, rows, BLOCK, D, 0);
    for (int64_t i = 0; i < rows; i++)
        backward_row(w->p + i * BLOCK, w->ds + i * BLOCK, seen(job, token + i, first, keys), job->scale, lse[i],
                     w->delta[local + i]);
    tile_product(w->dv, width, w->p, 1, BLOCK, w->dy, width, keys, width, rows, 1);
    tile_product(w->dk, width, w->ds, 1, BLOCK, w->q, width, keys, width, rows, 1);
    tile_product(w->dq + local * width, width, w->ds, BLOCK, 1, w->k, width, rows, width, keys, 1);
}

/* One kv head of one batch row: every block of its keys against every block of the queries that share it. */
static void backward_head(const struct attention_job *job, struct backward_work *w, int64_t b, int64_t kv) {
    int64_t D = job->D, width = job->width, group = job->H / job->K, n = keys_of(job, b), S = job->S;
    int64_t kv_row = job->K * D, base = b * job->T * kv_row + kv * D;
    memset(w->dq, 0, (size_t)(group * S * width) * sizeof *w->dq);
    for (int64_t i = 0; i < group * S; i++) {
        int64_t at = ((b * S + i % S) * job->H + kv * group + i / S) * D;
        w->delta[i] = dot(job->dy + at, job->y_in + at, D);
    }
    for (int64_t first = 0; first < job->T; first += BLOCK) {
        int64_t keys = larger(0, smaller(n - first, BLOCK)), rows = smaller(job->T - first, BLOCK);
        transpose_into(w->k_turned, BLOCK, job->k + base + first * kv_row, kv_row, keys, D, BLOCK);
        transpose_into(w->v_turned, BLOCK, job->v + base + first * kv_row, kv_row, keys, D, BLOCK);
        pad_into(w->k, width, job->k + base + first * kv_row, kv_row, keys, D);
        memset(w->dk, 0, (size_t)(BLOCK * width) * sizeof *w->dk);
        memset(w->dv, 0, (size_t)(BLOCK * width) * sizeof *w->dv);
        for (int64_t i = 0; i < group * ceil_div(S, BLOCK) && keys > 0; i++) {
            int64_t s = i % ceil_div(S, BLOCK) * BLOCK, height = smaller(S - s, BLOCK);
            if (seen(job, n - S + s + height - 1, first, keys) > 0)
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

static void backward_tasks(void *context, int64_t begin, int64_t end) {
    struct attention_job *job = context;
    struct backward_work w;
    float *work = workspace(job, backward_size(job));
    if (!work) return;
    lay_out(&w, work, job);
    for (int64_t task = begin; task < end; task++) backward_head(job, &w, task / job->K, task % job->K);
    pool_give(work);
}

static int attention_backward(float *dq, float *dk, float *dv, const float *dy, const float *q, const float *k,
                              const float *v, const float *y, const float *lse, const int64_t *lengths, int64_t B,
                              int64_t S, int64_t T, int64_t H, int64_t K, int64_t D, float scale, int causal) {
    struct attention_job job = {
        .dq = dq, .dk = dk, .dv = dv, .dy = dy, .q = q, .k = k, .v = v, .y_in = y, .lse = lse, .lengths = lengths,
        .B = B, .S = S, .T = T, .H = H, .K = K, .D = D, .width = round_up(D, COLUMNS > 16 ? COLUMNS : 16),
        .scale = scale, .causal = causal,
    };
    parallel_for(backward_tasks, &job, B * K, 1 + 16384 / (1 + S * T * D * (H / K)));
    return job.failed;
}
