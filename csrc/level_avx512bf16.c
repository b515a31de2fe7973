/* matmul_bf16 for CPUs that multiply bfloat16: Cooper Lake, Sapphire Rapids, Zen 4 and later. Everything else at this
 * level is avx512's (see cpu.c).
 *
 * vdpbf16ps adds to each of sixteen floats two products of bfloat16 numbers: c[n] += a[k] b[k][n] + a[k+1] b[k+1][n].
 * So its operands are pairs, the numbers for k and k + 1 side by side in 32 bits, and the micro-kernel of tile.h works
 * on pairs as it works on floats: a pair of a, spread over a register, times a row of pairs of b.
 *
 * The ladder: rounding the operands and multiplying in float32 (lowp.c) costs a product and two passes. Pairs halve
 * the instructions of the product and the bytes of its operands. What is left is the packing, as in matmul.c: all
 * threads first pack the whole of b, once; then a task takes as many columns as it can, so that a is packed (into the
 * second-level cache, from where it is used at once) only once as well. Where the rows are too few to keep all threads
 * busy, as in the gradient of a weight, tasks divide columns too, and a is packed beforehand like b: packing it again
 * for every group of columns took a third of such a product's time.
 *
 * Subnormal numbers count as zero, in operands and in sums: the instruction knows no others.
 */
#if defined(__x86_64__)
#include <immintrin.h>
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
#include "transpose.h"

typedef uint32_t pair; /* the number for an even k in the low half, the one for k + 1 in the high half */

/* PAIRS of k in a block: a panel of b fills half of the first-level cache, HEIGHT rows of a a part of the second. */
enum { ROWS = 12, REGISTERS = 2, COLUMNS = 16 * REGISTERS, PAIRS = 192, HEIGHT = 96 };

struct job {
    float *c, *act_out;
    const float *a, *b, *bias;
    pair *panels;               /* b, rounded and packed, for each matrix of the stack: [panel][pairs][COLUMNS] */
    pair *strips;               /* a, likewise, [block of k][row][PAIRS], or NULL: tasks pack what they need of it */
    int64_t stack, rows, columns, depth, pairs;
    int64_t a_stack, b_stack;   /* floats from one matrix of the stack to the next; 0 where it is shared */
    int64_t panels_stack;       /* the same in pairs */
    int a_transposed, b_transposed;
    int64_t across;             /* how many panels there are in b */
    int64_t block_rows, row_blocks, group_columns, groups;
    int64_t panel_tasks, padded_rows; /* tasks that pack b, before those that pack a; rows up to whole strips */
};

INLINE __mmask16 first(int64_t n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1); }

/* --- packing ---------------------------------------------------------------------------------------------------- */

/* A row of `depth` floats as pairs. */
static void pack_row(pair *to, const float *from, int64_t depth) {
    for (int64_t k = 0; k < depth; k += 32) {
        __m512 low = _mm512_maskz_loadu_ps(first(depth - k), from + k);
        __m512 high = _mm512_maskz_loadu_ps(first(depth - k - 16), from + (depth - k > 16 ? k + 16 : 0));
        _mm512_mask_storeu_epi32(to + k / 2, first((depth - k + 1) / 2), (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
}

/* Rows k of a matrix as rows of pairs, `width` to a row, zero from `columns` on: two rows are woven into one. */
INLINE void interleave(pair *to, int64_t width, const float *from, int64_t from_row, int64_t depth, int64_t columns) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    for (int64_t k = 0; k < depth; k += 2, to += width, from += 2 * from_row)
        for (int64_t n = 0; n < width; n += 16) {
            __mmask16 here = first(columns - n);
            __m512 even = _mm512_maskz_loadu_ps(here, here ? from + n : from);
            __mmask16 below = k + 1 < depth ? here : 0;
            __m512 odd = _mm512_maskz_loadu_ps(below, below ? from + from_row + n : from);
            __m512i both = _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(odd, even));
            _mm512_mask_storeu_epi32(to + n, first(width - n), both);
        }
}

/* Columns that lie along k, as one panel: their pairs are made first, and then turned like floats, which they are not,
 * but as wide. */
static void pack_turned(pair *to, const float *from, int64_t from_row, int64_t depth, int64_t columns) {
    _Alignas(64) pair rows[COLUMNS * PAIRS];
    for (int64_t n = 0; n < columns; n++) pack_row(rows + n * PAIRS, from + n * from_row, depth);
    transpose_into((float *)to, COLUMNS, (const float *)rows, PAIRS, columns, (depth + 1) / 2, COLUMNS);
}

static void pack_panel(const struct job *job, int64_t s, int64_t panel, int64_t k, int64_t depth) {
    pair *to = job->panels + s * job->panels_stack + (panel * job->pairs + k / 2) * COLUMNS;
    const float *b = job->b + s * job->b_stack;
    int64_t column = panel * COLUMNS, width = i64_min(job->columns - column, COLUMNS);
    if (job->b_transposed) pack_turned(to, b + column * job->depth + k, job->depth, depth, width);
    else interleave(to, COLUMNS, b + k * job->columns + column, job->columns, depth, width);
}

/* At most HEIGHT rows of a and a block of k: as rows of PAIRS, or, where a lies transposed, as strips [pair][ROWS]. */
static void pack_left(pair *to, const struct job *job, const float *a, int64_t rows, int64_t depth) {
    if (!job->a_transposed)
        for (int64_t m = 0; m < rows; m++) pack_row(to + m * PAIRS, a + m * job->depth, depth);
    else
        for (int64_t m = 0; m < rows; m += ROWS)
            interleave(to + m * PAIRS, ROWS, a + m, job->rows, depth, i64_min(rows - m, ROWS));
}

static const float *left_block(const struct job *job, int64_t s, int64_t row, int64_t k) {
    return job->a + s * job->a_stack + (job->a_transposed ? k * job->rows + row : row * job->depth + k);
}

/* A task packs one panel of b or one strip of a, for one block of k. */
static void pack_tasks(void *context, int64_t begin, int64_t end) {
    const struct job *job = context;
    int64_t blocks = ceil_div(job->pairs, PAIRS), strips = job->padded_rows / ROWS;
    for (int64_t task = begin; task < end; task++) {
        if (task < job->panel_tasks) {
            int64_t k = task / job->across % blocks * 2 * PAIRS;
            pack_panel(job, task / job->across / blocks, task % job->across, k, i64_min(job->depth - k, 2 * PAIRS));
            continue;
        }
        int64_t at = task - job->panel_tasks, row = at % strips * ROWS, k = at / strips % blocks * 2 * PAIRS;
        pack_left(job->strips + (at / strips * job->padded_rows + row) * PAIRS, job,
                  left_block(job, at / strips / blocks, row, k), i64_min(job->rows - row, ROWS),
                  i64_min(job->depth - k, 2 * PAIRS));
    }
}

/* --- the product -------------------------------------------------------------------------------------------------- */

/* As micro in tile.h, on pairs: c (rows x columns) (+)= a b, then bias. `rows` and `registers` are constants where this
 * is inlined. */
INLINE void micro(int rows, int registers, float *c, int64_t c_row, const pair *a, int64_t a_row, int64_t a_pair,
                  const pair *b, int64_t pairs, int64_t columns, int add, const float *bias) {
    __m512 sum[ROWS][REGISTERS];
    __mmask16 mask[REGISTERS];
    for (int j = 0; j < registers; j++) mask[j] = first(columns - 16 * j);
    for (int m = 0; m < rows; m++)
        for (int j = 0; j < registers; j++) {
            if (mask[j]) __builtin_prefetch(c + m * c_row + 16 * j, 1);
            sum[m][j] = _mm512_setzero_ps();
        }
    for (int64_t k = 0; k < pairs; k++, a += a_pair, b += COLUMNS) {
        __m512bh right[REGISTERS];
        for (int j = 0; j < registers; j++) right[j] = (__m512bh)_mm512_loadu_si512(b + 16 * j);
        for (int m = 0; m < rows; m++) {
            __m512bh left = (__m512bh)_mm512_set1_epi32((int)a[m * a_row]);
            for (int j = 0; j < registers; j++) sum[m][j] = _mm512_dpbf16_ps(sum[m][j], left, right[j]);
        }
    }
    for (int m = 0; m < rows; m++)
        for (int j = 0; j < registers; j++) {
            if (!mask[j]) continue;
            float *out = c + m * c_row + 16 * j;
            __m512 y = sum[m][j];
            if (add) y = _mm512_maskz_loadu_ps(mask[j], out) + y;
            if (bias) y += _mm512_maskz_loadu_ps(mask[j], bias + 16 * j);
            _mm512_mask_storeu_ps(out, mask[j], y);
        }
}

static void micro_any(int64_t rows, float *c, int64_t c_row, const pair *a, int64_t a_row, int64_t a_pair,
                      const pair *b, int64_t pairs, int64_t columns, int add, const float *bias) {
#define CASE(n)                                                                                                       \
    case n:                                                                                                           \
        if (columns <= 16) micro(n, 1, c, c_row, a, a_row, a_pair, b, pairs, columns, add, bias);                     \
        else if (a_pair == 1) micro(n, REGISTERS, c, c_row, a, PAIRS, 1, b, pairs, columns, add, bias);               \
        else micro(n, REGISTERS, c, c_row, a, 1, ROWS, b, pairs, columns, add, bias);                                 \
        break;
    switch (rows) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
    }
#undef CASE
}

/* Rows [row, row + rows) and columns [column, column + columns) of matrix s of the stack, all of k. */
static void block_product(const struct job *job, int64_t s, int64_t row, int64_t rows, int64_t column,
                          int64_t columns) {
    _Alignas(64) pair own[HEIGHT * PAIRS];
    float *c = job->c + (s * job->rows + row) * job->columns + column;
    const pair *panels = job->panels + s * job->panels_stack + column * job->pairs;
    int64_t a_row = job->a_transposed ? 1 : PAIRS, a_pair = job->a_transposed ? ROWS : 1;
    int64_t blocks = ceil_div(job->pairs, PAIRS), which = job->a_stack ? s : 0;
    for (int64_t k = 0; k < job->pairs; k += PAIRS) {
        int64_t pairs = i64_min(job->pairs - k, PAIRS);
        const float *bias = job->bias && k + pairs == job->pairs ? job->bias + column : NULL; /* after the last terms */
        for (int64_t top = 0; top < rows; top += HEIGHT) {
            int64_t height = i64_min(rows - top, HEIGHT);
            const pair *left = own;
            if (job->strips)
                left = job->strips + ((which * blocks + k / PAIRS) * job->padded_rows + row + top) * PAIRS;
            else
                pack_left(own, job, left_block(job, s, row + top, 2 * k), height,
                          i64_min(job->depth - 2 * k, 2 * PAIRS));
            for (int64_t n = 0; n < columns; n += COLUMNS)
                for (int64_t m = 0; m < height; m += ROWS)
                    micro_any(i64_min(height - m, ROWS), c + (top + m) * job->columns + n, job->columns,
                              left + m * PAIRS, a_row, a_pair, panels + n * job->pairs + k * COLUMNS, pairs,
                              columns - n, k > 0, bias ? bias + n : NULL);
            if (job->act_out && k + pairs == job->pairs)
                gelu_tanh_rows(job->act_out + (c - job->c) + top * job->columns, c + top * job->columns, job->columns,
                               height, columns);
        }
    }
}

static void product_tasks(void *context, int64_t begin, int64_t end) {
    const struct job *job = context;
    for (int64_t task = begin; task < end; task++) {
        int64_t row = task % job->row_blocks * job->block_rows, rest = task / job->row_blocks;
        int64_t column = rest % job->groups * job->group_columns, s = rest / job->groups;
        block_product(job, s, row, i64_min(job->rows - row, job->block_rows), column,
                      i64_min(job->columns - column, job->group_columns));
    }
}

/* Cut the outputs into about eight tasks a thread, by rows if there are enough: a cut through the columns needs a
 * packed once more, or beforehand and kept for all. */
static void plan(struct job *job) {
    int64_t threads = parallel_size(), wanted = threads == 1 ? 1 : ceil_div(8 * threads, job->stack);
    int64_t strips = ceil_div(job->rows, ROWS), blocks = i64_max(1, i64_min(wanted, strips / 4));
    job->block_rows = ceil_div(strips, blocks) * ROWS;
    job->row_blocks = ceil_div(job->rows, job->block_rows);
    job->group_columns = ceil_div(job->across, i64_min(ceil_div(wanted, job->row_blocks), job->across)) * COLUMNS;
    job->groups = ceil_div(job->columns, job->group_columns);
}

/* c = a b + bias, operands rounded to bfloat16. Returns -1, with nothing written, when memory for b's panels is
 * lacking. */
int matmul_bf16_avx512bf16(float *c, float *act_out, const float *a, const float *b, const float *bias, int64_t stack,
                           int64_t rows, int64_t columns, int64_t depth, int64_t a_stack, int64_t b_stack,
                           int a_transposed, int b_transposed) {
    int64_t pairs = (depth + 1) / 2, across = ceil_div(columns, COLUMNS), packed = (b_stack ? stack : 1) * across;
    struct job job = {
        .c = c, .act_out = act_out, .a = a, .b = b, .bias = bias, .stack = stack, .rows = rows, .columns = columns,
        .depth = depth, .pairs = pairs, .a_stack = a_stack, .b_stack = b_stack,
        .panels_stack = b_stack ? across * pairs * COLUMNS : 0,
        .a_transposed = a_transposed, .b_transposed = b_transposed, .across = across,
    };
    if (stack == 0 || rows == 0 || columns == 0) return 0;
    if (depth == 0) /* nothing to round */
        return kernels_avx512.matmul(c, act_out, a, b, bias, stack, rows, columns, 0, a_stack, b_stack, a_transposed,
                                     b_transposed);
    plan(&job);
    int64_t blocks = ceil_div(pairs, PAIRS), left = 0;
    job.padded_rows = ceil_div(rows, ROWS) * ROWS;
    if (job.groups > 1) left = (a_stack ? stack : 1) * blocks * job.padded_rows * PAIRS;
    job.panels = pool_take((size_t)(packed * pairs * COLUMNS + left) * sizeof(pair));
    if (!job.panels) return -1;
    job.panel_tasks = packed * blocks;
    if (left) job.strips = job.panels + packed * pairs * COLUMNS;
    parallel_for(pack_tasks, &job, job.panel_tasks + left / (ROWS * PAIRS),
                 1 + 8192 / (i64_min(pairs, PAIRS) * COLUMNS));
    parallel_for(product_tasks, &job, stack * job.row_blocks * job.groups,
                 1 + 65536 / (job.block_rows * job.group_columns * pairs));
    pool_give(job.panels);
    return 0;
}
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
