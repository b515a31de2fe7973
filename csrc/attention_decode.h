/* Attention of one query for each head, as decoding has it: a part of attention.c, and the same bits.
 *
 * Decoding has one query for each head, and its time is that of reading keys and values once. In attention.c a task is
 * a head and picks 256 bytes of each key, which no prefetcher foresees; here a task is a stretch of keys and reads all
 * heads of it as they lie in memory, so that even a single row keeps all threads busy. Three passes, the same sums:
 *
 *     scores of 16 keys at a time;    weights and the running max, head by head;
 *     for each block of keys, the weighted sum of its values; and these added in the order of blocks.
 */
enum { STEP = 16 }; /* keys in a task of scores */

struct decode_job {
    struct attention_job *job;
    int64_t blocks, steps;  /* of the longest row */
    float *weight;          /* B x H x blocks * BLOCK: scores, then weights */
    float *rescale, *sums;   /* B x H x blocks; B x blocks x H x padded */
    struct query *query;    /* B x H */
    int64_t padded;         /* D, rounded up to sixteen */
};

/* The address of what is read after position t of row b: later positions of that row as far as it has some, then the
 * beginning of the next row, so that no memory is fetched in vain and no row begins with waiting. */
INLINE uintptr_t read_next(const struct attention_job *job, const float *x, int64_t b, int64_t t, int64_t ahead) {
    int64_t n = keys_of(job, b), row = job->K * job->D;
    if (t + ahead < n || b + 1 == job->B) return address_of(x, (b * job->T + t + ahead) * row);
    return address_of(x, ((b + 1) * job->T + t + ahead - round_up(n, ahead)) * row);
}

/* Scores of STEP keys for `heads` (a constant) queries that share them; `gap` from one query's to the next. */
INLINE void step_scores(int heads, float *score, int64_t gap, const float *q, const float *k, int64_t row, int64_t D,
                        uintptr_t next) {
    v16 sum[FEW];
    turned_sums(heads, sum, q, D, 1, k, row, D, next);
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
        uintptr_t coming = read_next(job, job->k, b, first, STEP);
        if (keys < STEP) { /* there may be nothing behind them to read */
            memset(last + keys * row, 0, (size_t)((STEP - keys) * row) * sizeof *last);
            k = memcpy(last, k, (size_t)(keys * row) * sizeof *last);
        }
        for (int64_t h = 0; h < job->H; h += together) {
            const float *q = job->q + (b * job->H + h) * D, *of_head = k + h / group * D;
            float *score = decode->weight + (b * job->H + h) * gap + first;
            uintptr_t next = address_of((const float *)coming, h / group * D);
            together = h % group + FEW <= group ? FEW : 1;
            if (together == FEW) step_scores(FEW, score, gap, q, of_head, row, D, next);
            else step_scores(1, score, gap, q, of_head, row, D, next);
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
            decode->rescale[head * decode->blocks + first / BLOCK] =
                online_softmax(decode->weight + head * decode->blocks * BLOCK + first, i64_min(n - first, BLOCK),
                               job->scale, &query);
        decode->query[head] = query;
    }
}

/* y[d] += weight[0] * v[0][d] + ..., one key after the other, for `keys` keys whose rows lie v_row apart. */
INLINE void weigh(int keys, float *y, const float *weight, const float *v, int64_t v_row, int64_t D,
                  uintptr_t next) {
    int64_t d = 0;
    for (; d + LANES <= D; d += LANES) {
        vec sum = vec_load(y + d);
        for (int j = 0; j < keys; j++) prefetch_beyond((const float *)next, j * v_row + d);
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
        int64_t keys = i64_min(keys_of(job, b) - first, BLOCK);
        if (keys <= 0) continue;
        float *sums = decode->sums + task * job->H * decode->padded;
        memset(sums, 0, (size_t)(job->H * decode->padded) * sizeof *sums);
        const float *weight = decode->weight + b * job->H * decode->blocks * BLOCK + first;
        for (int64_t t = 0; t < keys; t += 4) {
            const float *v = job->v + (b * job->T + first + t) * row;
            uintptr_t coming = read_next(job, job->v, b, first + t, FEW_AHEAD);
            for (int64_t h = 0; h < job->H; h++) {
                float *y = sums + h * decode->padded;
                const float *w = weight + h * decode->blocks * BLOCK + t, *of_head = v + h / group * D;
                uintptr_t next = address_of((const float *)coming, h / group * D);
                if (t + 4 <= keys) weigh(4, y, w, of_head, row, D, next);
                else for (int64_t j = 0; j < keys - t; j++) weigh(1, y, w + j, of_head + j * row, row, D, next);
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
            rescale_row(y, decode->rescale[head * decode->blocks + block], padded);
            for (int64_t d = 0; d < padded; d += 16) v_store(y + d, v_add(v_load(y + d), v_load(sum + d)));
        }
        job->lse_out[head] = finish_row(job->y + head * job->D, y, decode->query[head], job->D);
    }
    pool_give(y);
}

static int attention_decode(struct attention_job *job) {
    int64_t n = 0, heads = job->B * job->H, row = job->K * job->D;
    for (int64_t b = 0; b < job->B; b++) n = i64_max(n, keys_of(job, b));
    struct decode_job decode = {.job = job, .blocks = ceil_div(n, BLOCK), .steps = ceil_div(n, STEP),
                                .padded = round_up(job->D, 16)};
    int64_t scores = heads * decode.blocks * BLOCK, sums = heads * decode.blocks * decode.padded;
    float *work = workspace(job, scores + sums + heads * decode.blocks + 2 * heads);
    if (!work) return 1;
    decode.weight = work;
    decode.sums = work + scores;
    decode.rescale = decode.sums + sums;
    decode.query = (struct query *)(decode.rescale + heads * decode.blocks);
    parallel_for(decode_scores, &decode, job->B * decode.steps, 1 + 32768 / (1 + STEP * row));
    parallel_for(decode_weights, &decode, heads, 1 + 2048 / (1 + n));
    parallel_for(decode_values, &decode, job->B * decode.blocks, 1 + 32768 / (1 + BLOCK * row));
    parallel_for(decode_sums, &decode, heads, 1 + 16384 / (1 + decode.blocks * decode.padded));
    pool_give(work);
    return job->failed;
}
