/* Attention of one query per head, for decoding: a part of attention.c, with the same bits.
 *
 * Decoding takes as long as reading keys and values once. In attention.c, a task is one head: it reads a short part of
 * each key and skips the other heads, which no prefetcher predicts. Here a task is a few keys with all heads, read
 * in the order of memory, so that even a single row keeps all threads busy. Four passes compute the same sums:
 *
 *     the scores, 16 keys at a time;    the weights and the running max, head by head;
 *     for each block of keys, the weighted sum of its values;    the sum of the blocks, in order.
 *
 * (With one task per row that does all passes, 256 short rows took 7 percent less time on one thread, but long rows up
 * to 12 percent more.)
 */
/* STEP: keys per task. SHARING: queries that share a key in registers. AHEAD: how many floats ahead to prefetch. */
enum { STEP = 16, SHARING = 4, AHEAD = 16384 };

struct decode_job {
    struct attention_job *job;
    int64_t blocks, steps;  /* of the longest row */
    float *weight;          /* B x H x blocks * BLOCK: scores, then weights */
    float *rescale, *sums;   /* B x H x blocks; B x blocks x H x padded */
    struct query *query;    /* B x H */
    int64_t padded;         /* D, rounded up to sixteen */
};

/* The form of keys in memory, a constant: floats; bfloat16 numbers, read as they are; or the same, widened first. */
enum keys { FLOATS, HALVES, WIDENED };

/* Prefetch keys that are read soon after position t of row b, in this row or at the start of the next: of `keys` keys,
 * the h-th of K parts. They get into the L2 cache in the order of memory, which the hardware can follow; from there
 * they are read 16 keys at a time, head by head. */
INLINE void ask_ahead(const struct attention_job *job, enum keys kind, const void *x, int64_t b, int64_t t,
                      int64_t keys, int64_t h) {
    int64_t n = keys_of(job, b), D = kind == FLOATS ? job->D : (job->D + 1) / 2, row = job->K * D; /* in floats */
    int64_t ahead = i64_max(i64_min(AHEAD / row, BLOCK) / STEP * STEP, STEP), later = b * job->T + t + ahead;
    if (t + ahead >= n && b + 1 < job->B) later = (b + 1) * job->T + t + ahead - round_up(n, ahead);
    for (int64_t i = h * keys * D; i < (h + 1) * keys * D; i += 16)
        __builtin_prefetch((const void *)address_of(x, later * row + i), 0, 2);
}

/* Compute the scores of STEP keys, k or (if it is not NULL) half, for `heads` (a constant) queries: those of query h
 * begin at score[h * gap]. */
INLINE void step_scores(int heads, float *score, int64_t gap, const float *q, const float *k, const uint16_t *half,
                        int64_t row, int64_t D) {
    v16 sum[SHARING];
    if (half) turned_halves(heads, sum, q, D, half, row, D);
    else turned_sums(heads, sum, q, D, 1, k, row, D, 0);
    for (int h = 0; h < heads; h++) v_store(score + h * gap, sum[h]);
}

INLINE void scores_of(enum keys kind, const struct decode_job *decode, int64_t begin, int64_t end) {
    struct attention_job *job = decode->job;
    int64_t D = job->D, group = job->H / job->K, row = job->K * D, gap = decode->blocks * BLOCK, together;
    int64_t apart = kind == WIDENED ? D : row;
    float *last = workspace(job, STEP * row);
    if (!last) return;
    for (int64_t task = begin; task < end; task++) {
        int64_t b = task / decode->steps, first = task % decode->steps * STEP, keys = keys_of(job, b) - first;
        if (keys <= 0) continue;
        int64_t at = (b * job->T + first) * row;
        const float *k = kind == FLOATS ? job->k + at : last;
        const uint16_t *half = kind == FLOATS ? NULL : job->half_k + at;
        /* a full load could read beyond the array; the extra numbers in `last` are not used */
        if (keys < STEP && kind == FLOATS) k = memcpy(last, k, (size_t)(keys * row) * sizeof *last);
        if (keys < STEP && kind == HALVES) half = memcpy(last, half, (size_t)(keys * row) * sizeof *half);
        for (int64_t h = 0; h < job->H; h += together) {
            const float *q = job->q + (b * job->H + h) * D;
            float *score = decode->weight + (b * job->H + h) * gap + first;
            int64_t part = h / group * D, there = i64_min(keys, STEP);
            if (h % group == 0) {
                ask_ahead(job, kind, kind == FLOATS ? (const void *)job->k : job->half_k, b, first, there, h / group);
                if (kind == WIDENED) floats_of(job, NULL, half, part, there, last);
            }
            const float *of_head = kind == FLOATS ? k + part : last;
            const uint16_t *half_head = kind == HALVES ? half + part : NULL;
            together = h % group + SHARING <= group ? SHARING : 1;
            if (together == SHARING) step_scores(SHARING, score, gap, q, of_head, half_head, apart, D);
            else step_scores(1, score, gap, q, of_head, half_head, apart, D);
        }
    }
    pool_give(last);
}

static void decode_scores(void *context, int64_t begin, int64_t end) {
    const struct decode_job *decode = context;
    if (!decode->job->half_k) scores_of(FLOATS, decode, begin, end);
    else if (decode->job->D % 8 == 0) scores_of(HALVES, decode, begin, end);
    else scores_of(WIDENED, decode, begin, end);
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

/* Compute y[d] = weight[0] * v[0][d] + ... in order of the keys, in `registers` (a constant) registers. */
INLINE void weigh(int registers, float *y, const float *weight, const float *v, const uint16_t *half, int64_t v_row,
                  int64_t keys) {
    vec sum[4];
    for (int i = 0; i < registers; i++) sum[i] = vec_set(0.0f);
    for (int64_t t = 0; t < keys; t++)
        for (int i = 0; i < registers; i++) {
            int64_t at = t * v_row + i * LANES;
            sum[i] = vec_fma(vec_set(weight[t]), half ? vec_load_halves(half + at) : vec_load(v + at), sum[i]);
        }
    for (int i = 0; i < registers; i++) vec_store(y + i * LANES, sum[i]);
}

INLINE void values_of(enum keys kind, const struct decode_job *decode, int64_t begin, int64_t end) {
    const struct attention_job *job = decode->job;
    int64_t D = job->D, group = job->H / job->K, row = job->K * D;
    for (int64_t task = begin; task < end; task++) {
        int64_t b = task / decode->blocks, first = task % decode->blocks * BLOCK;
        int64_t keys = i64_min(keys_of(job, b) - first, BLOCK);
        if (keys <= 0) continue;
        for (int64_t h = 0; h < job->H; h++) {
            float *y = decode->sums + (task * job->H + h) * decode->padded;
            int64_t at = (b * job->T + first) * row + h / group * D;
            const float *w = decode->weight + (b * job->H + h) * decode->blocks * BLOCK + first;
            const float *v = kind == FLOATS ? job->v + at : NULL;
            const uint16_t *half = kind == FLOATS ? NULL : job->half_v + at;
            int64_t d = 0;
            if (h % group == 0)
                ask_ahead(job, kind, kind == FLOATS ? (const void *)job->v : job->half_v, b, first, keys, h / group);
#define WEIGH(n)                                                                                                      \
    for (; d + n * LANES <= D; d += n * LANES)                                                                        \
        weigh(n, y + d, w, kind == FLOATS ? v + d : NULL, kind == FLOATS ? NULL : half + d, row, keys);
            WEIGH(4) WEIGH(2) WEIGH(1)
#undef WEIGH
            for (; d < decode->padded; d++) {
                y[d] = 0.0f;
                for (int64_t t = 0; t < keys && d < D; t++)
                    y[d] = fmaf(w[t], kind == HALVES ? from_half(half[t * row + d]) : v[t * row + d], y[d]);
            }
        }
    }
}

static void decode_values(void *context, int64_t begin, int64_t end) {
    const struct decode_job *decode = context;
    if (!decode->job->half_v) values_of(FLOATS, decode, begin, end);
    else values_of(HALVES, decode, begin, end);
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
