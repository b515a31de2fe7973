/* rope: rotate channels i and i + D/2 of token t by angle[t][i]: (a, b) -> (a cos - b sin, b cos + a sin).
 *
 * The spec makes four products, a difference, a sum and a concatenation, each a new array: seven passes over
 * memory. Here each number is read once and written once, and a row of the tables stays in cache for all H heads
 * of a token. The backward pass rotates by the opposite angle: the same loop with the sine negated.
 * Multiply-adds are not fused, so that products and sums are rounded as in the spec and the bits are the same.
 */

struct rope_job { float *y; const float *x, *cos, *sin; int64_t t, h, half; int backward; };

INLINE void rope_turn(v16 *a, v16 *b, v16 cos, v16 sin) {
    v16 first = v_sub(v_mul(*a, cos), v_mul(*b, sin));
    *b = v_add(v_mul(*b, cos), v_mul(*a, sin));
    *a = first;
}

static void rope_head(float *y, const float *x, const float *cos, const float *sin, int64_t half, int backward) {
    const v16 sign = v_set(backward ? -1.0f : 1.0f);
    int64_t i = 0;
    for (; i + 16 <= half; i += 16) {
        v16 a = v_load(x + i), b = v_load(x + half + i);
        rope_turn(&a, &b, v_load(cos + i), v_mul(v_load(sin + i), sign));
        v_store(y + i, a);
        v_store(y + half + i, b);
    }
    if (i < half) {
        int64_t n = half - i;
        v16 a = v_load_partial(x + i, n, 0), b = v_load_partial(x + half + i, n, 0);
        rope_turn(&a, &b, v_load_partial(cos + i, n, 0), v_mul(v_load_partial(sin + i, n, 0), sign));
        v_store_partial(y + i, n, a);
        v_store_partial(y + half + i, n, b);
    }
}

static void rope_row(const struct rope_job *job, int64_t token) {
    int64_t half = job->half;
    const float *cos = job->cos + token % job->t * half, *sin = job->sin + token % job->t * half;
    for (int64_t head = token * job->h; head < (token + 1) * job->h; head++)
        rope_head(job->y + head * 2 * half, job->x + head * 2 * half, cos, sin, half, job->backward);
}
BY_ROWS(rope, struct rope_job, b * t, 16384 / (h * half + 1),
        (float *y, const float *x, const float *cos, const float *sin, int64_t b, int64_t t, int64_t h, int64_t half,
         int backward), .y = y, .x = x, .cos = cos, .sin = sin, .t = t, .h = h, .half = half, .backward = backward)
