/* matmul_bf16 for CPUs that multiply bfloat16: Cooper Lake, Sapphire Rapids, Zen 4 and others. cpu.c takes all other
 * kernels of this level from avx512vnni.
 *
 * vdpbf16ps adds to each of sixteen floats two products of bfloat16 numbers: c[n] += a[k] b[k][n] + a[k+1] b[k+1][n].
 * So its operands are pairs: the numbers for k and k + 1 side by side in 32 bits. The micro-kernel of tile.h treats a
 * pair like a float: it copies a pair of a to all lanes of a register, and multiplies it by a row of pairs of b.
 *
 * Speed: lowp.c rounds both operands in memory, and then multiplies in float32. Pairs halve the instructions of that
 * product and the bytes of its operands. The packing costs time, as in matmul.c. All threads first pack the whole of
 * b, once. Then a task takes as many columns as it can, so that a, too, is packed only once, into the L2 cache, and is
 * used at once. If there are too few rows to keep all threads busy, as in the gradient of a weight, tasks divide the
 * columns too. Then a is packed beforehand like b, because packing it again for every group of columns took a third of
 * the time of such a product.
 *
 * Subnormal numbers count as zero, in operands and in sums, because the instruction treats them so.
 */
#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC diagnostic ignored "-Wunused-function"
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,avx2,fma")
#endif
#include "avx512.h"
#include "tinyllm.h"

#include "simd.h"
#include "approx.h"

INLINE vec spread_pair(const float *p) {
    int32_t both;
    memcpy(&both, p, sizeof both);
    return (vec)_mm512_set1_epi32(both);
}
#define UNIT 2
#define TILE_SPREAD(p) spread_pair(p)
#define TILE_FMA(a, b, c) (vec)_mm512_dpbf16_ps((__m512)(c), (__m512bh)(a), (__m512bh)(b))
#include "tile.h"
#include "transpose.h"

#include "matmul.c"

typedef uint32_t pair; /* the number for an even k in the low half, the one for k + 1 in the high half */

INLINE __mmask16 first(int64_t n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1); }

/* --- packing ---------------------------------------------------------------------------------------------------- */

/* Convert a row of `depth` floats to pairs. */
static void pack_row(pair *to, const float *from, int64_t depth) {
    for (int64_t k = 0; k < depth; k += 32) {
        __m512 low = _mm512_maskz_loadu_ps(first(depth - k), from + k);
        __m512 high = _mm512_maskz_loadu_ps(first(depth - k - 16), from + (depth - k > 16 ? k + 16 : 0));
        _mm512_mask_storeu_epi32(to + k / 2, first((depth - k + 1) / 2), (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
}

/* Return sixteen pairs: each has a number of a row and the number below it, from the row `below`, or 0 without one. */
INLINE __m512i weave(const float *from, const float *below, __mmask16 here) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    __m512 even = _mm512_maskz_loadu_ps(here, from), odd = _mm512_setzero_ps();
    if (below) odd = _mm512_maskz_loadu_ps(here, below);
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(odd, even));
}

/* Make one row of `width` pairs from every two rows of a matrix; pairs from `columns` on are zero. */
INLINE void interleave(pair *to, int64_t width, const float *from, int64_t from_row, int64_t depth, int64_t columns) {
    for (int64_t k = 0; k < depth; k += 2, to += width, from += 2 * from_row)
        for (int64_t n = 0; n < width; n += 16) {
            int64_t at = n < columns ? n : 0;
            __m512i both = weave(from + at, k + 1 < depth ? from + from_row + at : NULL, first(columns - n));
            _mm512_mask_storeu_epi32(to + n, first(width - n), both);
        }
}

/* If b is transposed, k runs along its rows in memory: make pairs first, then transpose them as if they were floats. */
static void pack_panel(float *panel, const struct matmul_job *job, const float *b, int64_t columns, int64_t k) {
    int64_t terms = i64_min(job->terms - 2 * k, 2 * DEPTH);
    _Alignas(64) pair rows[COLUMNS * DEPTH];
    if (job->b_col == 1) {
        interleave((pair *)panel, COLUMNS, b, job->b_row, terms, columns);
        return;
    }
    for (int64_t n = 0; n < columns; n++) pack_row(rows + n * DEPTH, b + n * job->b_col, terms);
    transpose_into(panel, COLUMNS, (const float *)rows, DEPTH, columns, (terms + 1) / 2, COLUMNS);
}

/* Pack rows of a as rows of pairs; if a is transposed, as strips of ROWS rows: [strip][pair][ROWS]. */
static void pack_left(float *left, const struct matmul_job *job, const float *a, int64_t rows, int64_t k) {
    int64_t terms = i64_min(job->terms - 2 * k, 2 * DEPTH), pairs = (terms + 1) / 2;
    for (int64_t m = 0; m < rows && job->a_col == 1; m++)
        pack_row((pair *)left + m * pairs, a + m * job->a_row, terms);
    for (int64_t m = 0; m < rows && job->a_col != 1; m += ROWS)
        interleave((pair *)left + m * pairs, ROWS, a + m, job->a_col, terms, i64_min(rows - m, ROWS));
}

/* --- one row ----------------------------------------------------------------------------------------------------- */

enum { SPAN = 512 }; /* columns of a task */

/* Multiply one row of a by b. Packing b would take longer than the product, so b is rounded where it is used; this made
 * a product with a b of 768 x 3072 three times as fast. The order of the sums is that of the micro-kernel. */
static void row_tasks(void *context, int64_t begin, int64_t end) {
    const struct matmul_job *job = context;
    _Alignas(64) float y[SPAN];
    pair left[DEPTH];
    for (int64_t task = begin; task < end; task++) {
        int64_t column = task % job->groups * SPAN, stack = task / job->groups;
        int64_t columns = i64_min(job->columns - column, SPAN);
        const float *a = job->a + stack * job->a_stack, *b = job->b + stack * job->b_stack + column;
        float *c = job->c + stack * job->columns + column;
        for (int64_t k = 0; k < job->terms; k += 2 * DEPTH) {
            int64_t terms = i64_min(job->terms - k, 2 * DEPTH);
            pack_row(left, a + k, terms);
            memset(y, 0, sizeof y);
            for (int64_t i = 0; i < terms; i += 2) {
                const float *row = b + (k + i) * job->b_row, *below = i + 1 < terms ? row + job->b_row : NULL;
                for (int64_t n = 0; n < columns; n += 16) {
                    vec right = (vec)weave(row + n, below ? below + n : NULL, first(columns - n));
                    vec_store(y + n, TILE_FMA(spread_pair((const float *)left + i / 2), right, vec_load(y + n)));
                }
            }
            const float *bias = job->bias && k + terms == job->terms ? job->bias + column : NULL;
            ROW(i, n, columns,
                v16 sum = v_load(y + i);
                if (k) sum = v_add(v_load_partial(c + i, n, 0.0f), sum);
                if (bias) sum = v_add(sum, v_load_partial(bias + i, n, 0.0f));
                v_store_partial(c + i, n, sum);)
        }
        if (job->act_out) gelu_tanh_rows(job->act_out + (c - job->c), c, job->columns, 1, columns);
    }
}

/* Compute c = a b + bias with operands rounded to bfloat16. Return -1, with nothing written, if there is no memory for
 * what is packed. */
static int matmul_bf16(float *c, float *act_out, const float *a, const float *b, const float *bias, int64_t stack,
                       int64_t rows, int64_t columns, int64_t depth, int64_t a_stack, int64_t b_stack,
                       int a_transposed, int b_transposed) {
    struct matmul_job job =
        job_of(c, act_out, a, b, bias, rows, columns, depth, a_stack, b_stack, a_transposed, b_transposed);
    if (stack > 0 && rows == 1 && columns > 0 && depth > 0 && !b_transposed) {
        job.groups = ceil_div(columns, SPAN);
        parallel_for(row_tasks, &job, stack * job.groups, 1 + 65536 / (i64_min(columns, SPAN) * depth));
        return 0;
    }
    if (stack > 0 && rows > 0 && columns > 0 && depth > 0) return product(&job, stack);
    return kernels_avx512.matmul(c, act_out, a, b, bias, stack, rows, columns, depth, a_stack, b_stack, a_transposed,
                                 b_transposed); /* nothing to round */
}

const struct kernels kernels_avx512bf16 = {.level = "avx512bf16", .matmul_bf16 = matmul_bf16};
#include "target_end.h"
#endif
