/* matmul: c[m][n] = sum over k of a[m][k] * b[k][n] (+ bias[n]), for a stack of matrices; a and b may be transposed.
 * For a layer with an activation it also computes gelu_tanh(c), while c is in cache.
 *
 * Bits: the terms of an output are summed in order of k by one accumulator within each block of DEPTH values of k,
 * and the block sums are added in order. Nothing else (shapes of blocks, threads, the function that is chosen) can
 * change a result, so the bits of a row do not depend on the other rows.
 *
 * The speed: `micro` (tile.h) keeps the multiply-add units busy if its operands are in the L1 and L2 caches. So
 * all threads first copy b into panels, each COLUMNS wide and contiguous. Then a task multiplies a block of rows:
 * HEIGHT rows of a, DEPTH numbers of each, stay in the L2 cache, while each panel in turn is read into the L1 cache.
 * Operands given as transposes are transposed while they are copied: by the task that needs them, or beforehand if
 * several tasks need the same rows.
 * With few rows, copying b does not pay, because reading it once takes all the time. `gemv` reads the rows of b in
 * the order of memory, and `turned_rows` transposes b in registers, sixteen rows at a time. Eight rows of a share each
 * load of b, and the next eight find it in the L1 cache. For 768 x 3072 weights read from memory, 5, 8 and 16 rows
 * take 1.1, 1.15 and 1.5 times as long as one row (with copying: 2.7, 2.8 and 3.4 times).
 * With a few more rows, one task has all of them and copies each panel when it needs it, so that the copy stays in
 * cache: 32 rows take 3.8 times instead of 4.3. A b of at most NEAR floats fits the L2 cache, and is not copied.
 */

/* FEW: with more rows, copying b is faster, because the micro-kernel keeps its sums in registers. FEW_STEP: rows
 * that are multiplied together. FEW_COLUMNS: columns of a task, fewer if it has more than FEW_SUMS sums; reading 1024
 * at a time is 1.05 to 1.2 times as fast as 256. FEW_AHEAD: how many rows of b ahead to prefetch into the L2 cache,
 * because the hardware does not prefetch the next row; this reads a row 1.2 to 1.6 times as fast. */
#ifndef UNIT
#define UNIT 1 /* values of k in a step of the micro-kernel: 2 in level_avx512bf16.c, which has its own pack_* */
#endif
enum { DEPTH = 384 / UNIT, HEIGHT = 96, NEAR = 65536 };
enum { FEW = 16, FEW_STEP = 8, FEW_COLUMNS = 1024, FEW_SUMS = 4096, FEW_AHEAD = 8 };

struct matmul_job {
    float *c, *act_out;                    /* act_out: gelu_tanh(c), if it is wanted */
    const float *a, *b, *bias;
    float *panels; /* b, packed, for each matrix of the stack: [panel][k][COLUMNS]; NULL: tasks pack their own */
    float *strips;                      /* a, packed, [block of k][strip][k][ROWS]; NULL: tasks pack their own */
    int64_t rows, columns, depth, terms; /* terms of a sum; depth = terms / UNIT */
    int64_t a_stack, b_stack;           /* from one matrix of the stack to the next; 0 where it is shared */
    int64_t panels_stack;
    int64_t a_row, a_col, b_row, b_col; /* strides in elements; in each pair one is 1 */
    int64_t across;                     /* how many panels there are in b */
    int64_t row_blocks, block_rows, groups, group_columns;
    int near, add;                      /* b is small: read it in place, without panels; add to c */
    int64_t panel_tasks, padded_rows;   /* number of tasks that pack b; rows, rounded up to whole strips */
};

/* Copy at most COLUMNS columns of b into a panel: at most DEPTH rows, from row k on. */
static void pack_panel(float *panel, const struct matmul_job *job, const float *b, int64_t columns, int64_t k);

/* Copy `rows` rows of a, at most DEPTH columns from column k on, so that each strip of ROWS rows is contiguous. */
static void pack_left(float *left, const struct matmul_job *job, const float *a, int64_t rows, int64_t k);

/* A task packs one panel of one block of k. */
static void pack_tasks(void *context, int64_t begin, int64_t end) {
    const struct matmul_job *job = context;
    int64_t blocks = ceil_div(job->depth, DEPTH);
    for (int64_t task = begin; task < end; task++) {
        int64_t panel = task % job->across, k = task / job->across % blocks * DEPTH, s = task / job->across / blocks;
        pack_panel(job->panels + s * job->panels_stack + (panel * job->depth + k) * COLUMNS, job,
                   job->b + s * job->b_stack + panel * COLUMNS * job->b_col + k * UNIT * job->b_row,
                   i64_min(job->columns - panel * COLUMNS, COLUMNS), k);
    }
}

#if UNIT == 1
static void pack_panel(float *panel, const struct matmul_job *job, const float *b, int64_t columns, int64_t k) {
    int64_t depth = i64_min(job->depth - k, DEPTH);
    if (job->b_col == 1) pad_into(panel, COLUMNS, b, job->b_row, depth, columns);
    else transpose_into(panel, COLUMNS, b, job->b_col, columns, depth, COLUMNS);
}

/* Copy rows of a transposed a into contiguous strips of ROWS rows: [strip][k][ROWS]. The outer loop is over k, because
 * neighbouring strips are copied from the same cache lines. */
static void pack_strips(float *restrict strips, const float *a, int64_t a_col, int64_t rows, int64_t depth) {
    int64_t whole = rows / ROWS * ROWS;
    for (int64_t k = 0; k < depth; k++)
        for (int64_t m = 0; m < whole; m += ROWS)
            memcpy(strips + m * depth + k * ROWS, a + k * a_col + m, ROWS * sizeof *a);
    if (whole < rows) pad_into(strips + whole * depth, ROWS, a + whole, a_col, depth, rows - whole);
}

static void pack_left(float *left, const struct matmul_job *job, const float *a, int64_t rows, int64_t k) {
    pack_strips(left, a, job->a_col, rows, i64_min(job->depth - k, DEPTH));
}
#endif

/* A task packs one panel of b, or one strip of a, for one block of k. */
static void both_tasks(void *context, int64_t begin, int64_t end) {
    const struct matmul_job *job = context;
    int64_t blocks = ceil_div(job->depth, DEPTH), strips = job->padded_rows / ROWS;
    pack_tasks(context, begin, i64_min(end, job->panel_tasks));
    for (int64_t task = i64_max(begin, job->panel_tasks); task < end; task++) {
        int64_t at = task - job->panel_tasks, row = at % strips * ROWS, k = at / strips % blocks * DEPTH;
        int64_t s = at / strips / blocks, depth = i64_min(job->depth - k, DEPTH);
        pack_left(job->strips + job->padded_rows * (s * job->depth + k) + row * depth, job,
                  job->a + s * job->a_stack + row * job->a_row + k * UNIT * job->a_col,
                  i64_min(job->rows - row, ROWS), k);
    }
}

/* Compute the columns of one strip at the right edge in a buffer, because the micro-kernel writes whole panels. */
static void edge_product(float *c, int64_t c_row, const float *a, int64_t a_row, int64_t a_col, const float *panel,
                         int64_t rows, int64_t columns, int64_t depth, int add, const float *bias) {
    float whole[ROWS * COLUMNS];
    if (columns <= LANES) narrow_micro(rows, whole, COLUMNS, a, a_row, a_col, panel, COLUMNS, depth);
    else whole_micro(rows, whole, COLUMNS, a, a_row, a_col, panel, COLUMNS, depth, 0, NULL);
    for (int64_t m = 0; m < rows; m++)
        for (int64_t n = 0; n < columns; n++) {
            float sum = whole[m * COLUMNS + n];
            float y = add ? c[m * c_row + n] + sum : sum;
            c[m * c_row + n] = bias ? y + bias[n] : y;
        }
}

/* Multiply at most HEIGHT rows of a by at most COLUMNS columns of one panel, for `depth` values of k. */
static void panel_product(float *c, int64_t c_row, const float *a, int64_t a_row, int64_t a_col, int64_t strip,
                          const float *panel, int64_t panel_row, int64_t rows, int64_t columns, int64_t depth, int add,
                          const float *bias) {
    for (int64_t m = 0; m < rows; m += ROWS, a += strip, c += ROWS * c_row) {
        int64_t height = i64_min(rows - m, ROWS);
        if (columns >= COLUMNS) whole_micro(height, c, c_row, a, a_row, a_col, panel, panel_row, depth, add, bias);
        else edge_product(c, c_row, a, a_row, a_col, panel, height, columns, depth, add, bias);
    }
}

/* Multiply a block of rows, from `row` on, of matrix s of the stack by a group of columns, for all k. */
static void block_product(const struct matmul_job *job, float *c, const float *a, int64_t s, int64_t row,
                          int64_t column, const float *bias, int64_t rows, int64_t columns) {
    _Alignas(64) float own[DEPTH * HEIGHT], own_panel[DEPTH * COLUMNS];
    const float *panels = job->panels ? job->panels + s * job->panels_stack + column * job->depth : NULL;
    const float *b = job->b + s * job->b_stack + column * job->b_col;
    for (int64_t k = 0; k < job->depth; k += DEPTH)
        for (int64_t m = 0; m < rows; m += HEIGHT) {
            int64_t depth = i64_min(job->depth - k, DEPTH), height = i64_min(rows - m, HEIGHT);
            int64_t a_row = job->a_row, a_col = job->a_col;
            const float *left = a + m * a_row + k * UNIT * a_col;
            if (UNIT > 1 || a_col != 1) { /* packed: [strip][k][ROWS] where it is transposed, else [row][k] */
                if (!job->strips) pack_left(own, job, left, height, k);
                int64_t stack = job->a_stack ? s : 0;
                left = own;
                if (job->strips) left = job->strips + job->padded_rows * (stack * job->depth + k) + (row + m) * depth;
                a_row = a_col == 1 ? depth : 1;
                a_col = a_col == 1 ? 1 : ROWS;
            }
            for (int64_t n = 0; n < columns; n += COLUMNS) {
                const float *panel = panels ? panels + n * job->depth + k * COLUMNS : own_panel;
                if (job->near) panel = b + n + k * job->b_row;
                else if (!panels)
                    pack_panel(own_panel, job, b + n * job->b_col + k * UNIT * job->b_row,
                               i64_min(columns - n, COLUMNS), k);
                const float *shift = bias && k + depth == job->depth ? bias + n : NULL; /* after the last terms */
                panel_product(c + m * job->columns + n, job->columns, left, a_row, a_col,
                              ROWS * (a_col == 1 ? a_row : depth), panel, job->near ? job->b_row : COLUMNS, height,
                              columns - n, depth, job->add || k > 0, shift);
            }
            if (job->act_out && k + depth == job->depth)
                gelu_tanh_rows(job->act_out + (c - job->c) + m * job->columns, c + m * job->columns, job->columns,
                               height, columns);
        }
}

static void add_bias(float *c, int64_t c_row, const float *bias, int64_t rows, int64_t columns) {
    for (int64_t m = 0; m < rows; m++)
        for (int64_t n = 0; n < columns; n++) c[m * c_row + n] += bias[n];
}

static void block_tasks(void *context, int64_t begin, int64_t end) {
    const struct matmul_job *job = context;
    for (int64_t task = begin; task < end; task++) {
        int64_t row = task % job->row_blocks * job->block_rows, rest = task / job->row_blocks;
        int64_t column = rest % job->groups * job->group_columns, s = rest / job->groups;
        int64_t rows = i64_min(job->rows - row, job->block_rows);
        int64_t columns = i64_min(job->columns - column, job->group_columns);
        float *c = job->c + (s * job->rows + row) * job->columns + column;
        const float *a = job->a + s * job->a_stack + row * job->a_row;
        block_product(job, c, a, s, row, column, job->bias ? job->bias + column : NULL, rows, columns);
    }
}

/* Add x[m][k] * b[k][n] to y[m][n] for `depth` values of k: b is read once for all rows, y once for all k.
 * `rows` and `depth` are constants where this is inlined. */
INLINE void few_step(int rows, int depth, float *y, int64_t y_row, const float *x, int64_t x_row, int64_t x_col,
                     const float *b, int64_t b_row, int64_t columns) {
    vec left[FEW_STEP][4];
    for (int m = 0; m < rows; m++)
        for (int k = 0; k < depth; k++) left[m][k] = vec_set(x[m * x_row + k * x_col]);
    for (int64_t n = 0; n < columns; n += LANES) {
        vec right[4];
        for (int k = 0; k < depth; k++) {
            right[k] = vec_load(b + k * b_row + n);
            prefetch_far_beyond(b, (k + FEW_AHEAD) * b_row + n);
        }
        for (int m = 0; m < rows; m++) {
            vec sum = vec_load(y + m * y_row + n);
            for (int k = 0; k < depth; k++) sum = vec_fma(left[m][k], right[k], sum);
            vec_store(y + m * y_row + n, sum);
        }
    }
}

static void few_steps(int64_t rows, int64_t depth, float *y, int64_t y_row, const float *x, int64_t x_row,
                      int64_t x_col, const float *b, int64_t b_row, int64_t columns) {
#define CASE(n)                                                                                                       \
    case n:                                                                                                           \
        if (step == 4) few_step(n, 4, sums, y_row, left, x_row, x_col, b + k * b_row, b_row, columns);                \
        else few_step(n, 1, sums, y_row, left, x_row, x_col, b + k * b_row, b_row, columns);                          \
        break;
    for (int64_t k = 0, step = 4; k < depth; k += step) {
        if (k + 4 > depth) step = 1;
        for (int64_t m = 0; m < rows; m += FEW_STEP) {
            float *sums = y + m * y_row;
            const float *left = x + m * x_row + k * x_col;
            switch (i64_min(rows - m, FEW_STEP)) { CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) }
        }
    }
#undef CASE
}

/* Compute at most job->group_columns columns of a product with at most FEW rows; b is not transposed. */
static void gemv(const struct matmul_job *job, float *c, const float *a, const float *b, int64_t columns) {
    _Alignas(64) float y[FEW_SUMS];
    int64_t whole = columns / LANES * LANES, y_row = job->group_columns;
    for (int64_t start = 0; start < job->depth; start += DEPTH) {
        int64_t depth = i64_min(job->depth - start, DEPTH);
        const float *x = a + start * job->a_col, *right = b + start * job->b_row;
        memset(y, 0, (size_t)(job->rows * y_row) * sizeof *y);
        few_steps(job->rows, depth, y, y_row, x, job->a_row, job->a_col, right, job->b_row, whole);
        for (int64_t m = 0; m < job->rows; m++) {
            for (int64_t n = whole; n < columns; n++)
                for (int64_t k = 0; k < depth; k++)
                    y[m * y_row + n] = fmaf(x[m * job->a_row + k * job->a_col], right[k * job->b_row + n],
                                            y[m * y_row + n]);
            float *out = c + m * job->columns;
            for (int64_t n = 0; n < columns; n++)
                out[n] = start > 0 ? out[n] + y[m * y_row + n] : y[m * y_row + n];
        }
    }
}

/* Multiply rows of a by sixteen rows of b, for at most DEPTH values of k from `start` on. */
INLINE void turned_rows(int rows, const struct matmul_job *job, float *c, const float *a, const float *b,
                        int64_t start) {
    v16 sum[FEW_STEP];
    turned_sums(rows, sum, a + start * job->a_col, job->a_row, job->a_col, b + start, job->b_col,
                i64_min(job->depth - start, DEPTH), address_of(b + start, 16 * job->b_col));
    for (int m = 0; m < rows; m++) {
        float *out = c + m * job->columns;
        v_store(out, start > 0 ? v_add(v_load(out), sum[m]) : sum[m]);
    }
}

static void turned_group(const struct matmul_job *job, float *c, const float *a, const float *b) {
#define CASE(n)                                                                                                       \
    case n: turned_rows(n, job, c + m * job->columns, a + m * job->a_row, b, k); break;
    for (int64_t k = 0; k < job->depth; k += DEPTH)
        for (int64_t m = 0; m < job->rows; m += FEW_STEP)
            switch (i64_min(job->rows - m, FEW_STEP)) {
                CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
            }
#undef CASE
}

/* Compute the last columns, which are fewer than sixteen. */
static void turned_edge(const struct matmul_job *job, float *c, const float *a, const float *b, int64_t columns) {
    for (int64_t m = 0; m < job->rows; m++)
        for (int64_t n = 0; n < columns; n++)
            for (int64_t start = 0; start < job->depth; start += DEPTH) {
                float sum = 0.0f, *out = c + m * job->columns + n;
                for (int64_t k = start; k < i64_min(job->depth, start + DEPTH); k++)
                    sum = fmaf(a[m * job->a_row + k * job->a_col], b[n * job->b_col + k], sum);
                *out = start > 0 ? *out + sum : sum;
            }
}

/* Multiply at most FEW rows of a. A task is one group of columns: sixteen if b is transposed. */
static void few_tasks(void *context, int64_t begin, int64_t end) {
    const struct matmul_job *job = context;
    for (int64_t task = begin; task < end; task++) {
        int64_t column = task % job->groups * job->group_columns, stack = task / job->groups;
        int64_t columns = i64_min(job->columns - column, job->group_columns);
        const float *a = job->a + stack * job->a_stack, *b = job->b + stack * job->b_stack + column * job->b_col;
        float *c = job->c + stack * job->rows * job->columns + column;
        if (job->b_col == 1) gemv(job, c, a, b, columns);
        else if (columns < 16) turned_edge(job, c, a, b, columns);
        else turned_group(job, c, a, b);
        if (job->bias) add_bias(c, job->columns, job->bias + column, job->rows, columns);
        if (job->act_out) gelu_tanh_rows(job->act_out + (c - job->c), c, job->columns, job->rows, columns);
    }
}

static void few_product(struct matmul_job *job, int64_t stack) {
    int64_t threads = parallel_size(), most = i64_min(FEW_SUMS / job->rows / 64 * 64, FEW_COLUMNS);
    int64_t tasks = ceil_div(job->columns, most);
    if (stack < threads) tasks = ceil_div(tasks, threads) * threads; /* as many for each thread */
    job->group_columns = job->b_col == 1 ? ceil_div(ceil_div(job->columns, tasks), 64) * 64 : 16;
    job->groups = ceil_div(job->columns, job->group_columns);
    parallel_for(few_tasks, job, stack * job->groups, 1 + 16384 / (job->depth * job->group_columns));
}

/* Divide the outputs into about eight tasks per thread, so that no thread waits long for the last one. Divide by rows
 * if there are enough, because tasks that divide columns copy the strips of a again, or need them copied beforehand. */
static void plan(struct matmul_job *job, int64_t stack) {
    int64_t threads = parallel_size(), wanted = threads == 1 ? 1 : ceil_div(8 * threads, stack);
    int64_t strips = ceil_div(job->rows, ROWS), blocks = i64_max(1, i64_min(wanted, strips / 4));
    job->block_rows = ceil_div(strips, blocks) * ROWS;
    job->row_blocks = ceil_div(job->rows, job->block_rows);
    job->group_columns = ceil_div(job->across, i64_min(ceil_div(wanted, job->row_blocks), job->across)) * COLUMNS;
    job->groups = ceil_div(job->columns, job->group_columns);
}

static struct matmul_job job_of(float *c, float *act_out, const float *a, const float *b, const float *bias,
                                int64_t rows, int64_t columns, int64_t depth, int64_t a_stack, int64_t b_stack,
                                int a_transposed, int b_transposed) {
    return (struct matmul_job){
        .c = c, .act_out = act_out, .a = a, .b = b, .bias = bias, .rows = rows, .columns = columns,
        .depth = ceil_div(depth, UNIT), .terms = depth, .a_stack = a_stack, .b_stack = b_stack,
        .a_row = a_transposed ? 1 : depth, .a_col = a_transposed ? rows : 1,
        .b_row = b_transposed ? 1 : columns, .b_col = b_transposed ? depth : 1,
        .across = ceil_div(columns, COLUMNS), .padded_rows = ceil_div(rows, ROWS) * ROWS,
    };
}

/* Multiply by blocks. Return -1, with nothing written, if there is no memory for what is packed beforehand. */
static int product(struct matmul_job *job, int64_t stack) {
    plan(job, stack);
    int64_t depth = job->depth, blocks = ceil_div(depth, DEPTH), packed = 0, left = 0;
    int64_t work = job->block_rows * job->group_columns * depth;
    job->near = UNIT == 1 && job->b_col == 1 && job->columns % COLUMNS == 0 && depth * job->columns <= NEAR;
    if (!job->near && (job->row_blocks > 1 || job->rows > HEIGHT)) packed = (job->b_stack ? stack : 1) * job->across;
    if ((UNIT > 1 || job->a_col != 1) && job->groups > 1) left = (job->a_stack ? stack : 1) * job->padded_rows * depth;
    float *memory = NULL;
    if (packed + left > 0) {
        memory = pool_take((size_t)(packed * depth * COLUMNS + left) * sizeof(float));
        if (!memory) return -1;
        if (packed) job->panels = memory;
        if (left) job->strips = memory + packed * depth * COLUMNS;
        job->panels_stack = job->b_stack ? job->across * depth * COLUMNS : 0;
        job->panel_tasks = packed * blocks;
        parallel_for(both_tasks, job, job->panel_tasks + left / (depth * ROWS) * blocks,
                     1 + 32768 / (UNIT * UNIT) / (i64_min(depth, DEPTH) * COLUMNS));
    }
    parallel_for(block_tasks, job, stack * job->row_blocks * job->groups, 1 + 65536 / work);
    if (memory) pool_give(memory);
    return 0;
}

/* Compute c and, if act_out is given, gelu_tanh(c). */
static int matmul(float *c, float *act_out, const float *a, const float *b, const float *bias, int64_t stack,
                  int64_t rows, int64_t columns, int64_t depth, int64_t a_stack, int64_t b_stack, int a_transposed,
                  int b_transposed) {
    struct matmul_job job =
        job_of(c, act_out, a, b, bias, rows, columns, depth, a_stack, b_stack, a_transposed, b_transposed);
    if (stack == 0 || rows == 0 || columns == 0) return 0;
    if (depth == 0) { /* an empty sum is 0; the loops would write nothing */
        memset(c, 0, (size_t)(stack * rows * columns) * sizeof *c);
        for (int64_t s = 0; s < stack && bias; s++) add_bias(c + s * rows * columns, columns, bias, rows, columns);
        if (act_out) gelu_tanh_rows(act_out, c, columns, stack * rows, columns);
        return 0;
    }
    if (rows > FEW) return product(&job, stack);
    few_product(&job, stack);
    return 0;
}

/* Sum each column of x: the gradient of a bias. Threads divide columns; each column is summed from its first row. */

struct column_job { float *y; const float *x; int64_t rows, columns; };

static void column_tasks(void *context, int64_t begin, int64_t end) {
    const struct column_job *job = context;
    for (int64_t first = begin * 64; first < i64_min(end * 64, job->columns); first += 64) {
        int64_t width = i64_min(job->columns - first, 64), i = 0;
        float *y = job->y + first;
        for (i = 0; i < width; i++) y[i] = 0.0f;
        for (int64_t row = 0; row < job->rows; row++) {
            const float *x = job->x + row * job->columns + first;
            for (i = 0; i < width; i++) y[i] += x[i];
        }
    }
}

static void column_sum(float *y, const float *x, int64_t rows, int64_t columns) {
    struct column_job job = {.y = y, .x = x, .rows = rows, .columns = columns};
    parallel_for(column_tasks, &job, ceil_div(columns, 64), 1 + 256 / (rows + 1));
}
