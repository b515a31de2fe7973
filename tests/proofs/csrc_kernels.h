/* One short function per group of kernels that calls each of them on arrays of odd sizes (see csrc_kernels.c).
 *
 * A kernel whose signature is not driven from the table goes here: csrc_kernels.c fails on one that nobody calls. An
 * output (`out`) belongs to the one CALL that writes it, and is read-only for those that follow; everything else is
 * read-only from the first CALL on.
 */

/* Those that promise the same bits on any number of threads, but not at every level. */
static const int by_level[] = {index_matmul_bf16};

static const int64_t sizes[][2] = { /* rows, n */
    {0, 5}, {1, 0}, {1, 1}, {3, 7}, {2, 15}, {5, 16}, {3, 17}, {2, 33}, {7, 65}, {1, 300}, {70, 31}, {2, 5000},
    {150, 130}, {9, 520},
};

/* Kernels of the commonest signatures are driven from the table of tinyllm.h: what is written element by element, with or
 * without rows, needs no function here. */
typedef void unary(float *, const float *, int64_t);
typedef void binary(float *, const float *, const float *, int64_t);
typedef void unary_rows(float *, const float *, int64_t, int64_t);
typedef void binary_rows(float *, const float *, const float *, int64_t, int64_t);

static void drive_unary(int kernel, unary *run, int64_t rows, int64_t n) {
    float *y = out(rows * n), *x = in(rows * n);
    begin(kernel);
    run(y, x, rows * n);
}
static void drive_binary(int kernel, binary *run, int64_t rows, int64_t n) {
    float *z = out(rows * n), *x = in(rows * n), *y = in(rows * n);
    begin(kernel);
    run(z, x, y, rows * n);
}
static void drive_unary_rows(int kernel, unary_rows *run, int64_t rows, int64_t n) {
    float *y = out(rows * n), *x = in(rows * n);
    begin(kernel);
    run(y, x, rows, n);
}
static void drive_binary_rows(int kernel, binary_rows *run, int64_t rows, int64_t n) {
    float *z = out(rows * n), *x = in(rows * n), *y = in(rows * n);
    begin(kernel);
    run(z, x, y, rows, n);
}
static void drive_by_hand(int kernel, ...) { (void)kernel; }

static void drive_table(int64_t rows, int64_t n) {
#define X(file, result, name, arguments)                                                                              \
    if (index_##name != index_column_sum) /* whose result is one row */                                               \
        _Generic(kernels->name, unary *: drive_unary, binary *: drive_binary, unary_rows *: drive_unary_rows,         \
                 binary_rows *: drive_binary_rows, default: drive_by_hand)(index_##name, kernels->name, rows, n);
    TINYLLM_KERNELS(X)
#undef X
}

static void drive_norm(int64_t rows, int64_t c) {
    float *y = out(rows * c), *mean = out(rows), *rstd = out(rows), *dx = out(rows * c), *dw = out(c), *db = out(c);
    float *x = in(rows * c), *dy = in(rows * c), *w = in(c), *b = in(c);
    CALL(layernorm)(y, mean, rstd, x, w, b, 1e-5f, rows, c);
    int failed = CALL(layernorm_backward)(dx, dw, db, dy, x, w, mean, rstd, rows, c);
    y = out(rows * c), rstd = out(rows), dx = out(rows * c), dw = out(c);
    CALL(rmsnorm)(y, rstd, x, w, 1e-5f, rows, c);
    failed |= CALL(rmsnorm_backward)(dx, dw, dy, x, w, rstd, rows, c);
    REQUIRE(!failed, "the backward pass of a norm found no memory");
}

static void drive_loss(int64_t rows, int64_t v) {
    float *losses = out(rows), *lse = out(rows), *dx = out(rows * v), *x = in(rows * v), *dlosses = in(rows);
    int64_t *targets = ids(rows, v > 0 ? v : 1);
    for (int64_t i = 0; i < rows; i++)
        if (v == 0 || next() % 4 == 0) targets[i] = -100;
    CALL(token_losses)(losses, lse, x, targets, -100, rows, v);
    CALL(token_losses_backward)(dx, dlosses, 1, x, targets, lse, -100, rows, v);
    double *total = (double *)out(2);
    *total = CALL(total_loss)(losses, rows);
}

static void drive_output_layer(int64_t rows, int64_t v) {
    int64_t c = 1 + v % 40, wide = v == 5000 ? 30000 : v; /* so many tokens, and 1000 rows, make three chunks */
    rows = wide > v ? 1000 : rows;
    float *losses = out(rows), *sums = out(rows), *dh = out(rows * c), *dw = out(wide * c);
    float *h = in(rows * c), *w = in(wide * c), *dlosses = in(rows);
    int64_t *wanted = ids(rows, v > 0 ? v : 1);
    for (int64_t i = 0; i < rows && v == 0; i++) wanted[i] = -100;
    int failed = CALL(linear_token_losses)(losses, sums, h, w, wanted, -100, rows, wide, c);
    failed |= CALL(linear_token_losses_backward)(dh, dw, dlosses, h, w, wanted, sums, -100, rows, wide, c);
    REQUIRE(!failed, "linear_token_losses found no memory");
}

static void drive_matmul(int64_t rows, int64_t n) {
    int64_t depth = n % 40 + rows % 3 + (n % 2 ? 0 : 384), stack = 1 + rows % 3; /* one block of k, or two */
    for (int turned = 0; turned < 4; turned++) {
        float *y[5], *sums = out(n);
        for (int i = 0; i < 5; i++) y[i] = out(stack * rows * n);
        float *a = in(stack * rows * depth), *b = in(depth * n), *bias = in(n);
        int a_turned = turned & 1, b_turned = turned >> 1, failed = 0;
        failed |= CALL(matmul)(y[0], y[1], a, b, bias, stack, rows, n, depth, rows * depth, 0, a_turned, b_turned);
        failed |= CALL(matmul)(y[2], NULL, a, b, NULL, stack, rows, n, depth, 0, 0, a_turned, b_turned);
        CALL(column_sum)(sums, y[0], stack * rows, n);
        failed |= CALL(matmul_bf16)(y[3], y[4], a, b, bias, stack, rows, n, depth, rows * depth, 0, a_turned, b_turned);
        REQUIRE(!failed, "matmul found no memory");
    }
    for (int rung = 0; rung < 6; rung++) {
        float *c = out(rows * n), *a = in(rows * depth), *b = in(depth * n);
        REQUIRE(!CALL(matmul_ladder)(c, a, b, rows, n, depth, rung), "a rung found no memory");
    }
}

static void drive_experts(int64_t rows, int64_t n) {
    int64_t depth = 1 + n % 40, top = 1 + rows % 2, *ends = ids(3, 1), *places = ids(rows * top, 1);
    ends[0] = ends[1] = rows / 3, ends[2] = rows; /* the second group is empty */
    for (int64_t i = 0; i < rows * top; i++) places[i] = rows * top - 1 - i;
    float *y = out(rows * n), *dx = out(rows * depth), *dw = out(3 * depth * n), *x = in(rows * depth), *dy = in(rows * n);
    const float *w[] = {in(depth * n), in(depth * n), in(depth * n)};
    int failed = CALL(grouped_matmul)(y, x, w, ends, 3, n, depth, 0, 0);
    failed |= CALL(grouped_matmul)(dx, dy, w, ends, 3, depth, n, 1, 0);
    failed |= CALL(grouped_outer)(dw, x, dy, ends, 3, n, depth, 0);
    REQUIRE(!failed, "a grouped product found no memory");
    float *z = out(rows * n), *dz = in(rows * n), *each = in(rows * top * n), *weights = in(rows * top);
    float *deach = out(rows * top * n), *dweights = out(rows * top);
    CALL(combine)(z, each, weights, places, rows, top, n);
    CALL(combine_backward)(deach, dweights, dz, each, weights, places, rows, top, n);
}

static void drive_attention(int64_t rows, int64_t n) {
    int64_t b = 1 + rows % 2, s = rows < 131 ? rows : 131, t = s + n % 90;
    int64_t kv = 1 + n % 2, h = kv * (1 + rows % 3), d = 1 + n % 70;
    int64_t q_size = b * s * h * d, k_size = b * t * kv * d;
    for (int kind = 0; kind < 5; kind++) { /* plain, causal; ranges without a bias, with one row of it, one for each query */
        int ranges = kind >= 2;
        int64_t bias_rows = kind == 4 ? s : 1;
        float *y = out(q_size), *lse = out(b * h * s), *dq = out(q_size), *dk = out(k_size), *dv = out(k_size);
        float *dbias = kind > 2 ? out(h * bias_rows * t) : NULL, *bias = kind > 2 ? in(h * bias_rows * t) : NULL;
        float *q = in(q_size), *k = in(k_size), *v = in(k_size), *dy = in(q_size);
        int64_t *lengths = !ranges && rows % 2 ? ids(b, t + 1) : NULL;
        int64_t *starts = ranges ? ids(b * s, t + 1) : NULL, *ends = ranges ? ids(b * s, t + 1) : NULL;
        int failed = CALL(attention)(y, lse, q, k, v, lengths, starts, ends, bias, bias_rows, b, s, t, h, kv, d, 0.25f,
                                     kind == 1);
        failed |= CALL(attention_backward)(dq, dk, dv, dbias, dy, q, k, v, y, lse, lengths, starts, ends, bias,
                                           bias_rows, b, s, t, h, kv, d, 0.25f, kind == 1);
        REQUIRE(!failed, "attention found no memory");
    }
}

static void drive_elementwise(int64_t rows, int64_t n) {
    n *= rows;
    float *dgate = out(n), *dup = out(n), *y = out(n), *dy = in(n), *gate = in(n), *up = in(n);
    CALL(swiglu_backward)(dgate, dup, dy, gate, up, n);
    CALL(dropout)(y, dy, UINT64_MAX, next(), 6554, 1.25f, n);
}

static void drive_embedding(int64_t rows, int64_t n) {
    int64_t v = 1 + n % 60, c = n % 70;
    float *y = out(rows * c), *dw = out(v * c), *w = in(v * c);
    int64_t *id = ids(rows, v);
    CALL(embedding)(y, w, id, rows, c);
    CALL(embedding_backward)(dw, y, id, rows, v, c);
}

static void drive_rope(int64_t rows, int64_t n) {
    int64_t b = 2, h = 1 + n % 3, half = n % 40, size = b * rows * h * 2 * half;
    float *y = out(size), *dx = out(size), *x = in(size), *cosine = in(rows * half), *sine = in(rows * half);
    CALL(rope)(y, x, cosine, sine, b, rows, h, half);
    CALL(rope_backward)(dx, x, cosine, sine, b, rows, h, half);
}

static void drive_optim(int64_t rows, int64_t n) {
    n *= rows;
    float *w = out(n), *m = out(n), *v = out(n), *clipped = out(n), *g = in(n);
    double *sum = (double *)out(2), *sums = scratch((n / 4096 + 1) * 8);
    for (int64_t i = 0; i < n; i++) w[i] = 1, m[i] = v[i] = 0;
    CALL(adamw_step)(w, m, v, g, n, 1 + rows, 1e-3, 0.9, 0.999, 1e-8, 0.1, 0.5);
    *sum = CALL(sum_squares)(1.0, sums, g, n);
    CALL(scale)(clipped, g, 0.3f, n);
}

static void drive_sample(int64_t rows, int64_t n) {
    float *y[5];
    for (int i = 0; i < 5; i++) y[i] = out(rows * n);
    int64_t *drawn = (int64_t *)out(2 * rows), used = n > 0 ? 3 : 0;
    float *x = in(rows * n), *probs = positive(rows * n);
    int64_t *id = ids(rows * used, n > 0 ? n : 1);
    double *u = array(rows * 8);
    for (int64_t i = 0; i < rows; i++) u[i] = (double)(next() >> 11) * 0x1p-53;
    CALL(temperature)(y[0], x, 0.7f, rows * n);
    CALL(top_k)(y[1], x, 1 + n / 3, rows, n);
    CALL(top_p)(y[2], x, 0.8, rows, n);
    CALL(min_p)(y[3], x, 0.1, rows, n);
    CALL(repetition_penalty)(y[4], x, id, 1.3f, rows, n, used);
    CALL(sample)(drawn, probs, u, rows, n);
}

static void drive_split(int64_t rows, int64_t n) {
    int64_t c = n / 3;
    float *part = out(rows * c), *whole = out(rows * c * 3), *x = in(rows * c * 3);
    CALL(copy_rows)(part, c, x + c, 3 * c, rows, c);
    CALL(copy_rows)(whole + 2 * c, 3 * c, part, c, rows, c);
}

static void drive_quant(int64_t rows, int64_t n) {
    int64_t n_out = 1 + n % 70, blocks = (n + 31) / 32, groups = (n_out + 15) / 16;
    for (int bits = 4; bits <= 8; bits += 4) {
        int64_t places = groups * blocks * 16;
        float *y = out(rows * n_out), *x_scales = out(rows * blocks), *x_sums = out(rows * blocks);
        uint8_t *q = (uint8_t *)out(places * bits);
        uint16_t *scales = (uint16_t *)out(places / 2);
        int8_t *xq = (int8_t *)out(rows * blocks * 8);
        float *given = in(n * n_out), *x = in(rows * n), *bias = in(n_out);
        if (CALL(quantize_weights)(q, scales, given, n, n_out, bits))
            REQUIRE(awkward, "weights were refused though they are finite");
        CALL(quantize_rows)(xq, x_scales, (int32_t *)(void *)x_sums, x, rows, n);
        int failed = CALL(linear_quantized)(y, x, q, scales, rows % 2 ? bias : NULL, rows, n, n_out, bits);
        REQUIRE(!failed, "a quantised layer found no memory");
    }
}

static void drive_probe(int64_t rows, int64_t n) { /* rates, not results: what they leave in y is not compared */
    float *y = scratch((rows + 2) * 4 * sizeof(float)), *x = in(n + 2 * 65536);
    REQUIRE(CALL(probe_fma)(y, rows, n % 50) >= 0, "operations done cannot be negative");
    REQUIRE(CALL(probe_bf16)(y, rows, n % 50) >= 0, "operations done cannot be negative");
    REQUIRE(CALL(probe_read)(y, x, n + 65536) == 4.0 * 65536, "one piece is read");
}

static void (*const drives[])(int64_t rows, int64_t n) = {
    drive_table, drive_norm, drive_loss, drive_matmul, drive_experts, drive_attention, drive_elementwise,
    drive_embedding, drive_rope, drive_optim, drive_sample, drive_output_layer, drive_split, drive_quant,
    drive_probe,
};
