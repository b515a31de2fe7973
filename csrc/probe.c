/* Measure the limits of this machine: multiply-adds per second, and bytes per second from memory.
 *
 * `tinyllm bench` compares the speed of kernels with these limits. probe_fma computes on registers alone, with as
 * many independent sums as the micro-kernel of matmul. probe_bf16 does the same with the CPU's bfloat16 products (each
 * makes two multiply-adds per lane), if there are any; it is compiled for these instructions even at levels that lack
 * them. probe_read sums an array that is too large for the caches. Each returns the number of operations, or of bytes
 * read.
 */

struct probe_job { float *y; const float *x; int64_t rounds; };

static void probe_fma_pieces(void *context, int64_t begin, int64_t end) {
    const struct probe_job *job = context;
    for (int64_t piece = begin; piece < end; piece++) { /* two loops, because one of 24 would not be unrolled; the sums
                                                          * differ, because equal ones would be computed once */
        vec sum[ROWS][REGISTERS], x = vec_set(job->x[0]), w = vec_set(job->x[1]);
        for (int m = 0; m < ROWS; m++)
            for (int j = 0; j < REGISTERS; j++) sum[m][j] = vec_set((float)(m * REGISTERS + j));
        for (int64_t round = 0; round < job->rounds; round++)
            for (int m = 0; m < ROWS; m++)
                for (int j = 0; j < REGISTERS; j++) sum[m][j] = vec_fma(sum[m][j], w, x);
        for (int m = 0; m < ROWS; m++)
            for (int j = 0; j < REGISTERS; j++) w += sum[m][j];
        job->y[piece] = w[0];
    }
}

static double probe_fma(float *y, int64_t pieces, int64_t rounds) {
    static const float x[2] = {1e-3f, 0.5f}; /* stays near 0.002: no overflow, no subnormals */
    struct probe_job job = {.y = y, .x = x, .rounds = rounds};
    parallel_for(probe_fma_pieces, &job, pieces, 1);
    return 2.0 * LANES * ROWS * REGISTERS * (double)rounds * (double)pieces;
}

#if defined(__x86_64__) && LANES == 16
#define PROBE_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))
PROBE_BF16 static void probe_bf16_pieces(void *context, int64_t begin, int64_t end) {
    const struct probe_job *job = context;
    for (int64_t piece = begin; piece < end; piece++) {
        __m512 sum[12], all = _mm512_setzero_ps();
        __m512i bits = _mm512_set1_epi32((int)(0x3c003c00 + piece % 2)); /* two small bfloat16 numbers */
        for (int i = 0; i < 12; i++) sum[i] = _mm512_set1_ps((float)i);
        for (int64_t round = 0; round < job->rounds; round++)
            for (int i = 0; i < 12; i++) sum[i] = _mm512_dpbf16_ps(sum[i], (__m512bh)bits, (__m512bh)bits);
        for (int i = 0; i < 12; i++) all = _mm512_add_ps(all, sum[i]);
        job->y[piece] = _mm512_cvtss_f32(all);
    }
}

static double probe_bf16(float *y, int64_t pieces, int64_t rounds) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx512bf16")) return 0.0;
    struct probe_job job = {.y = y, .rounds = rounds};
    parallel_for(probe_bf16_pieces, &job, pieces, 1);
    return 4.0 * 16 * 12 * (double)rounds * (double)pieces;
}
#else
static double probe_bf16(float *y, int64_t pieces, int64_t rounds) {
    (void)y, (void)pieces, (void)rounds;
    return 0.0;
}
#endif

enum { PROBE_PIECE = 1 << 16 }; /* floats: a quarter of a megabyte */

static void probe_read_pieces(void *context, int64_t begin, int64_t end) {
    const struct probe_job *job = context;
    for (int64_t piece = begin; piece < end; piece++) {
        const float *x = job->x + piece * PROBE_PIECE;
        v16 sum[4];
        for (int i = 0; i < 4; i++) sum[i] = v_set(0.0f);
        for (int64_t k = 0; k < PROBE_PIECE; k += 64)
            for (int i = 0; i < 4; i++) sum[i] = v_add(sum[i], v_load(x + k + 16 * i));
        job->y[piece] = v_sum(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
    }
}

static double probe_read(float *y, const float *x, int64_t n) {
    struct probe_job job = {.y = y, .x = x};
    parallel_for(probe_read_pieces, &job, n / PROBE_PIECE, 1);
    return 4.0 * PROBE_PIECE * (double)(n / PROBE_PIECE);
}
