# What Cython needs to know of csrc/tinyllm.h: the same table, in the same order.
from libc.stdint cimport int8_t, int64_t, int32_t, uint8_t, uint16_t, uint64_t

cdef extern from "tinyllm.h" nogil:
    struct kernels_t "kernels":
        const char *level
        int (*matmul)(float *c, float *bent, const float *a, const float *b, const float *bias, int64_t stack, int64_t rows,
                       int64_t columns, int64_t depth, int64_t a_stack, int64_t b_stack, int a_transposed,
                       int b_transposed) noexcept nogil
        int (*matmul_ladder)(float *c, const float *a, const float *b, int64_t rows, int64_t columns, int64_t depth,
                             int rung) noexcept nogil
        void (*column_sum)(float *y, const float *x, int64_t rows, int64_t n) noexcept nogil
        int (*attention)(float *y, float *lse, const float *q, const float *k, const float *v,
                         const int64_t *lengths, int64_t b, int64_t s, int64_t t, int64_t h, int64_t kv, int64_t d,
                         float scale, int causal) noexcept nogil
        int (*attention_backward)(float *dq, float *dk, float *dv, const float *dy, const float *q, const float *k,
                                  const float *v, const float *y, const float *lse, const int64_t *lengths,
                                  int64_t b, int64_t s, int64_t t, int64_t h, int64_t kv, int64_t d, float scale,
                                  int causal) noexcept nogil
        int (*attention_ranges)(float *y, float *lse, const float *q, const float *k, const float *v,
                                const int64_t *starts, const int64_t *ends, const float *bias, int64_t bias_rows,
                                int64_t b, int64_t s, int64_t t, int64_t h, int64_t kv, int64_t d, float scale) noexcept nogil
        int (*attention_ranges_backward)(float *dq, float *dk, float *dv, float *dbias, const float *dy, const float *q,
                                         const float *k, const float *v, const float *y, const float *lse,
                                         const int64_t *starts, const int64_t *ends, const float *bias,
                                         int64_t bias_rows, int64_t b, int64_t s, int64_t t, int64_t h, int64_t kv,
                                         int64_t d, float scale) noexcept nogil
        void (*gelu)(float *y, const float *x, int64_t n) noexcept nogil
        void (*gelu_backward)(float *dx, const float *dy, const float *x, int64_t n) noexcept nogil
        void (*gelu_tanh)(float *y, const float *x, int64_t n) noexcept nogil
        void (*gelu_tanh_backward)(float *dx, const float *dy, const float *x, int64_t n) noexcept nogil
        void (*silu)(float *y, const float *x, int64_t n) noexcept nogil
        void (*silu_backward)(float *dx, const float *dy, const float *x, int64_t n) noexcept nogil
        void (*swiglu)(float *y, const float *gate, const float *up, int64_t n) noexcept nogil
        void (*swiglu_backward)(float *dgate, float *dup, const float *dy, const float *gate,
                                const float *up, int64_t n) noexcept nogil
        void (*add)(float *z, const float *x, const float *y, int64_t n) noexcept nogil
        void (*dropout)(float *y, const float *x, uint64_t key, uint64_t counter, int least, float factor,
                        int64_t n) noexcept nogil
        void (*approx_exp)(float *y, const float *x, int64_t n) noexcept nogil
        void (*approx_log)(float *y, const float *x, int64_t n) noexcept nogil
        void (*approx_tanh)(float *y, const float *x, int64_t n) noexcept nogil
        void (*approx_erf)(float *y, const float *x, int64_t n) noexcept nogil
        void (*softmax)(float *y, const float *x, int64_t rows, int64_t n) noexcept nogil
        void (*softmax_backward)(float *dx, const float *dy, const float *y, int64_t rows, int64_t n) noexcept nogil
        void (*log_softmax)(float *y, const float *x, int64_t rows, int64_t n) noexcept nogil
        void (*log_softmax_backward)(float *dx, const float *dy, const float *y, int64_t rows, int64_t n) noexcept nogil
        void (*layernorm)(float *y, float *mean, float *rstd, const float *x, const float *w, const float *b, float eps,
                          int64_t rows, int64_t c) noexcept nogil
        void (*layernorm_backward)(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w,
                                   const float *mean, const float *rstd, int64_t rows, int64_t c) noexcept nogil
        void (*rmsnorm)(float *y, float *rstd, const float *x, const float *w, float eps, int64_t rows, int64_t c) noexcept nogil
        void (*rmsnorm_backward)(float *dx, float *dw, const float *dy, const float *x, const float *w, const float *rstd,
                                 int64_t rows, int64_t c) noexcept nogil
        void (*token_losses)(float *losses, float *lse, const float *x, const int64_t *targets, int64_t ignore,
                             int64_t rows, int64_t v) noexcept nogil
        void (*token_losses_backward)(float *dx, const float *dlosses, const float *x, const int64_t *targets,
                                      const float *lse, int64_t ignore, int64_t rows, int64_t v) noexcept nogil
        int (*linear_token_losses)(float *losses, float *lse, const float *x, const float *w, const int64_t *targets,
                                   int64_t ignore, int64_t rows, int64_t v, int64_t c) noexcept nogil
        int (*linear_token_losses_backward)(float *dx, float *dw, const float *dlosses, const float *x, const float *w,
                                            const int64_t *targets, const float *lse, int64_t ignore, int64_t rows,
                                            int64_t v, int64_t c) noexcept nogil
        void (*embedding)(float *y, const float *w, const int64_t *ids, int64_t tokens,
            int64_t c) noexcept nogil
        void (*embedding_backward)(float *dw, const float *dy, const int64_t *ids, int64_t tokens, int64_t v,
            int64_t c) noexcept nogil
        void (*rope)(float *y, const float *x, const float *cos, const float *sin, int64_t b, int64_t t,
            int64_t h, int64_t half) noexcept nogil
        void (*rope_backward)(float *dx, const float *dy, const float *cos, const float *sin, int64_t b,
            int64_t t, int64_t h, int64_t half) noexcept nogil
        void (*adamw_step)(float *w, float *m, float *v, const float *g, int64_t n, int64_t step, double lr,
            double beta1, double beta2, double eps, double weight_decay, double grad_scale) noexcept nogil
        double (*sum_squares)(double sum, double *scratch, const float *g, int64_t n) noexcept nogil
        void (*scale)(float *y, const float *x, float factor, int64_t n) noexcept nogil
        void (*round_bf16)(float *y, const float *x, int64_t n) noexcept nogil
        int (*matmul_bf16)(float *c, float *bent, const float *a, const float *b, const float *bias, int64_t stack, int64_t rows,
                           int64_t columns, int64_t depth, int64_t a_stack, int64_t b_stack, int a_transposed,
                           int b_transposed) noexcept nogil
        void (*quantize_rows)(int8_t *q, float *scales, int32_t *sums, const float *x, int64_t rows,
            int64_t n) noexcept nogil
        int (*quantize_weights)(uint8_t *q, uint16_t *scales, const float *w, int64_t n_in, int64_t n_out,
            int bits) noexcept nogil
        void (*dequantize_weights)(float *w, const uint8_t *q, const uint16_t *scales, int64_t n_in, int64_t n_out,
            int bits) noexcept nogil
        int (*linear_quantized)(float *y, const float *x, const uint8_t *q, const uint16_t *scales, const float *bias,
            int64_t rows, int64_t n_in, int64_t n_out, int bits) noexcept nogil
        void (*temperature)(float *y, const float *x, float t, int64_t n) noexcept nogil
        void (*top_k)(float *y, const float *x, int64_t k, int64_t rows, int64_t n) noexcept nogil
        void (*top_p)(float *y, const float *x, double p, int64_t rows, int64_t n) noexcept nogil
        void (*min_p)(float *y, const float *x, double p, int64_t rows, int64_t n) noexcept nogil
        void (*repetition_penalty)(float *y, const float *x, const int64_t *ids, float penalty, int64_t rows,
            int64_t n, int64_t used) noexcept nogil
        void (*sample)(int64_t *ids, const float *probs, const double *u, int64_t rows,
            int64_t n) noexcept nogil
        double (*probe_fma)(float *y, int64_t pieces, int64_t rounds) noexcept nogil
        double (*probe_bf16)(float *y, int64_t pieces, int64_t rounds) noexcept nogil
        double (*probe_read)(float *y, const float *x, int64_t n) noexcept nogil
        void (*copy_rows)(float *y, int64_t y_row, const float *x, int64_t x_row, int64_t rows,
            int64_t c) noexcept nogil

    const kernels_t *kernels
    const kernels_t *const *cpu_levels()
    int cpu_use(const char *level)
    void parallel_threads(int n)
    int parallel_size()
    void *pool_take(size_t size)
    void pool_give(void *block)
    void pool_empty()
    void pool_cap(size_t size)
    struct pool_state:
        int64_t hits, misses, used, idle, peak, capacity
    pool_state pool_look()
