/* Declare every kernel, with the file that defines it, and what all kernels use: threads and a pool of memory.
 *
 * Kernels are plain C11. Outputs come first, inputs are const, sizes are int64_t, arrays are contiguous, and may
 * overlap only where a comment says so. No kernel prints, checks shapes (csrc/glue does) or keeps state. The same
 * source is compiled once per instruction set (level_*.c) into a `struct kernels`; `kernels` points to the one in use.
 *
 * Each letter has one meaning in all files: B batch, T tokens, S queries, H heads, K kv heads, D head width,
 * C channels, V vocabulary. Only in matmul, M, N, K are rows, columns and the summed axis.
 */
#ifndef TINYLLM_H
#define TINYLLM_H

#include <stddef.h>
#include <stdint.h>

/* X(file, result, name, arguments). Arguments that are only arrays of one shape and its sizes (`n`, or `rows, n`) make
 * Python's function of the kernel, too: see bindings.py. */
#define TINYLLM_KERNELS(X)                                                                                            \
    X(matmul, int, matmul,                                                                                            \
      (float *c, float *act_out, const float *a, const float *b, const float *bias, int64_t stack, int64_t rows,      \
       int64_t columns, int64_t depth, int64_t a_stack, int64_t b_stack, int a_transposed, int b_transposed))         \
    X(ladder, int, matmul_ladder,                                                                                     \
      (float *c, const float *a, const float *b, int64_t rows, int64_t columns, int64_t depth, int rung))             \
    X(matmul, void, column_sum, (float *y, const float *x, int64_t rows, int64_t columns))                            \
    X(attention, int, attention,                                                                                      \
      (float *y, float *lse, const float *q, const float *k, const float *v, const uint16_t *half_k,                  \
       const uint16_t *half_v, const int64_t *lengths, const int64_t *starts, const int64_t *ends,                    \
       const float *bias, int64_t bias_rows, int64_t b, int64_t s, int64_t t, int64_t h, int64_t kv, int64_t d,       \
       float scale, int causal))                                                                                      \
    X(attention, int, attention_backward,                                                                             \
      (float *dq, float *dk, float *dv, float *dbias, const float *dy, const float *q, const float *k,                \
       const float *v, const float *y, const float *lse, const int64_t *lengths, const int64_t *starts,               \
       const int64_t *ends, const float *bias, int64_t bias_rows, int64_t b, int64_t s, int64_t t, int64_t h,         \
       int64_t kv, int64_t d, float scale, int causal))                                                               \
    X(elementwise, void, gelu, (float *y, const float *x, int64_t n))                                                 \
    X(elementwise, void, gelu_backward, (float *dx, const float *dy, const float *x, int64_t n))                      \
    X(elementwise, void, gelu_tanh, (float *y, const float *x, int64_t n))                                            \
    X(elementwise, void, gelu_tanh_backward, (float *dx, const float *dy, const float *x, int64_t n))                 \
    X(elementwise, void, silu, (float *y, const float *x, int64_t n))                                                 \
    X(elementwise, void, silu_backward, (float *dx, const float *dy, const float *x, int64_t n))                      \
    X(elementwise, void, swiglu, (float *y, const float *gate, const float *up, int64_t n))                           \
    X(elementwise, void, swiglu_backward,                                                                             \
      (float *dgate, float *dup, const float *dy, const float *gate, const float *up, int64_t n))                     \
    X(elementwise, void, add, (float *z, const float *x, const float *y, int64_t n))                                  \
    X(elementwise, void, dropout,                                                                                    \
      (float *y, const float *x, uint64_t key, uint64_t counter, int least, float factor, int64_t n))                 \
    X(elementwise, void, exp_each, (float *y, const float *x, int64_t n))                                             \
    X(elementwise, void, log_each, (float *y, const float *x, int64_t n))                                             \
    X(elementwise, void, tanh_each, (float *y, const float *x, int64_t n))                                            \
    X(elementwise, void, sigmoid, (float *y, const float *x, int64_t n))                                              \
    X(softmax, void, softmax, (float *y, const float *x, int64_t rows, int64_t n))                                    \
    X(softmax, void, softmax_backward, (float *dx, const float *dy, const float *y, int64_t rows, int64_t n))         \
    X(softmax, void, log_softmax, (float *y, const float *x, int64_t rows, int64_t n))                                \
    X(softmax, void, log_softmax_backward, (float *dx, const float *dy, const float *y, int64_t rows, int64_t n))     \
    X(norm, void, layernorm,                                                                                          \
      (float *y, float *mean, float *rstd, const float *x, const float *w, const float *b, float eps,                 \
       int64_t rows, int64_t c))                                                                                      \
    X(norm, int, layernorm_backward,                                                                                  \
      (float *dx, float *dw, float *db, const float *dy, const float *x, const float *w,                              \
       const float *mean, const float *rstd, int64_t rows, int64_t c))                                                \
    X(norm, void, rmsnorm,                                                                                            \
      (float *y, float *rstd, const float *x, const float *w, float eps, int64_t rows, int64_t c))                    \
    X(norm, int, rmsnorm_backward,                                                                                    \
      (float *dx, float *dw, const float *dy, const float *x, const float *w, const float *rstd,                      \
       int64_t rows, int64_t c))                                                                                      \
    X(loss, void, token_losses,                                                                                       \
      (float *losses, float *lse, const float *x, const int64_t *targets, int64_t ignore,                             \
       int64_t rows, int64_t v))                                                                                      \
    X(loss, void, token_losses_backward,                                                                              \
      (float *dx, const float *dlosses, int64_t step, const float *x, const int64_t *targets, const float *lse,       \
       int64_t ignore, int64_t rows, int64_t v))                                                                      \
    X(loss, double, double_sum, (const float *x, int64_t n))                                                          \
    X(loss, int, linear_token_losses,                                                                                 \
      (float *losses, float *lse, const float *x, const float *w, const int64_t *targets, int64_t ignore,             \
       int64_t rows, int64_t v, int64_t c))                                                                           \
    X(loss, int, linear_token_losses_backward,                                                                        \
      (float *dx, float *dw, const float *dlosses, const float *x, const float *w, const int64_t *targets,            \
       const float *lse, int64_t ignore, int64_t rows, int64_t v, int64_t c))                                         \
    X(embedding, void, embedding, (float *y, const float *w, const int64_t *ids, int64_t tokens, int64_t c))          \
    X(embedding, void, embedding_backward,                                                                            \
      (float *dw, const float *dy, const int64_t *ids, int64_t tokens, int64_t v, int64_t c))                         \
    X(rope, void, rope,                                                                                               \
      (float *y, const float *x, const float *cos, const float *sin, int64_t b, int64_t t, int64_t h, int64_t half,   \
       int backward))                                                                                                 \
    X(optim, void, adamw_step,                                                                                        \
      (float *w, float *m, float *v, const float *g, int64_t n, int64_t step, double lr, double beta1, double beta2,  \
       double eps, double weight_decay, double grad_scale))                                                           \
    X(optim, double, sum_squares, (double sum, double *scratch, const float *g, int64_t n))                           \
    X(lowp, void, round_bf16, (float *y, const float *x, int64_t n))                                                  \
    X(lowp, int, matmul_bf16,                                                                                         \
      (float *c, float *act_out, const float *a, const float *b, const float *bias, int64_t stack, int64_t rows,      \
       int64_t columns, int64_t depth, int64_t a_stack, int64_t b_stack, int a_transposed, int b_transposed))         \
    X(experts, int, grouped_matmul,                                                                                   \
      (float *c, const float *a, const float *const *b, const int64_t *ends, int64_t groups, int64_t columns,         \
       int64_t depth, int transposed, int bf16))                                                                      \
    X(experts, int, grouped_outer,                                                                                    \
      (float *dw, const float *x, const float *dy, const int64_t *ends, int64_t groups, int64_t columns,              \
       int64_t depth, int bf16))                                                                                      \
    X(experts, void, combine,                                                                                         \
      (float *z, const float *y, const float *weights, const int64_t *places, int64_t rows, int64_t top,              \
       int64_t c))                                                                                                    \
    X(experts, void, combine_backward,                                                                                \
      (float *dy, float *dweights, const float *dz, const float *y, const float *weights, const int64_t *places,      \
       int64_t rows, int64_t top, int64_t c))                                                                         \
    X(quant, int64_t, quantize_weights,                                                                               \
      (uint8_t *q, uint16_t *scales, const float *w, int64_t n_in, int64_t n_out, int bits))                          \
    X(quant, int, linear_quantized,                                                                                   \
      (float *y, const float *x, const uint8_t *q, const uint16_t *scales, const float *bias, int64_t rows,           \
       int64_t n_in, int64_t n_out, int bits))                                                                        \
    X(sample, void, top_k, (float *y, const float *x, int64_t k, int64_t rows, int64_t n))                            \
    X(sample, void, top_p, (float *y, const float *x, double p, int64_t rows, int64_t n))                             \
    X(sample, void, min_p, (float *y, const float *x, double p, int64_t rows, int64_t n))                             \
    X(sample, void, repetition_penalty,                                                                               \
      (float *y, const float *x, const int64_t *ids, float penalty, int64_t rows, int64_t n, int64_t used))           \
    X(sample, void, sample, (int64_t *ids, const float *probs, const double *u, int64_t rows, int64_t n))             \
    X(split, void, copy_rows,                                                                                         \
      (float *y, int64_t y_row, const float *x, int64_t x_row, int64_t rows, int64_t c))                              \
    X(probe, double, probe_fma, (float *y, int64_t pieces, int64_t rounds))                                           \
    X(probe, double, probe_bf16, (float *y, int64_t pieces, int64_t rounds))                                          \
    X(probe, double, probe_read, (float *y, const float *x, int64_t n))

struct kernels {
    const char *level; /* "avx2", "avx512", "avx512vnni", "avx512bf16", "neon" */
#define X(file, result, name, arguments) result(*name) arguments;
    TINYLLM_KERNELS(X)
#undef X
};

/* cpu.c: the kernels in use, and the levels (instruction sets) that this CPU can run: the best first, NULL last. */
extern const struct kernels *kernels;
extern const struct kernels kernels_avx2, kernels_avx512, kernels_neon; /* level_*.c */
extern const struct kernels kernels_avx512vnni, kernels_avx512bf16;     /* only what replaces kernels of avx512 */
const struct kernels *const *cpu_levels(void);
int cpu_use(const char *level); /* 0 on success, -1 when there is no such level here; NULL means the best */

/* parallel.c: run body(context, begin, end) over pieces that together cover [0, n), each at least `grain` long
 * (the last one may be shorter). Which thread runs which piece is not fixed, so a body must write only the outputs
 * of its own piece. The calling thread runs it all if another parallel_for is running, or if n <= grain. */
typedef void (*parallel_body)(void *context, int64_t begin, int64_t end);
void parallel_for(parallel_body body, void *context, int64_t n, int64_t grain);
void parallel_threads(int n); /* resize the pool; 1 means no workers */
int parallel_size(void);      /* threads that take part, the caller included */

/* pool.c: blocks of memory, aligned to 64 bytes, and kept for reuse up to a cap. pool_take: NULL if memory runs out. */
void *pool_take(size_t bytes);
void pool_give(void *block);
void pool_empty(void);
struct pool_state {
    int64_t hits, misses;             /* how many blocks were reused, how many came from the system */
    int64_t used, idle, peak, capacity; /* bytes in use, bytes of idle blocks, the most of both together, cap on idle */
};
struct pool_state pool_look(void);
void pool_cap(size_t bytes);
void pool_lock(void); /* for parallel.c only, which locks the pool while the process forks */
void pool_unlock(void);

#endif
