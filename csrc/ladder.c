/* matmul_ladder: six versions of the product c = a b, to compare their speed. The last one is matmul.c.
 *
 * A product of n x n matrices is 2 n**3 operations on 3 n**2 numbers, so each number is used hundreds of times. It
 * should be fetched from memory less often than that. The first column is the speed in GFLOP/s for n = 1024, on one
 * core with AVX-512 whose limit is about 245:
 *
 *     0.6  naive      three plain loops. Each step of k reads another row of b: a cache line for one number.
 *      48  reordered  the innermost loop is over columns, so rows of b and c are read in order, sixteen at a time.
 *      39  tiled      a tile of b that fits the cache is multiplied by all rows of a. This alone is slower: rows of b
 *                     are 4 KiB apart, so they compete for the same few cache lines, and evict each other.
 *      63  packed     the tile is first copied into a contiguous array.
 *     222  registers  a block of c stays in registers for all steps of k (tile.h), so loads are few.
 *          threaded   the same, with blocks of rows divided among threads: matmul itself.
 */

enum { TILE_K = 128, TILE_N = 256 };
struct product { float *c; const float *a, *b; int64_t rows, columns, depth; };

static void naive(struct product p) {
    for (int64_t m = 0; m < p.rows; m++)
        for (int64_t n = 0; n < p.columns; n++) {
            float sum = 0.0f;
            for (int64_t k = 0; k < p.depth; k++) sum += p.a[m * p.depth + k] * p.b[k * p.columns + n];
            p.c[m * p.columns + n] = sum;
        }
}

/* Add x times a row of b to `width` columns of a row of c: the inner loop of the next three versions. */
INLINE void add_row(float *restrict c, float x, const float *restrict b, int64_t width) {
    for (int64_t n = 0; n < width; n++) c[n] += x * b[n];
}

static void reordered(struct product p) {
    memset(p.c, 0, (size_t)(p.rows * p.columns) * sizeof *p.c);
    for (int64_t m = 0; m < p.rows; m++)
        for (int64_t k = 0; k < p.depth; k++)
            add_row(p.c + m * p.columns, p.a[m * p.depth + k], p.b + k * p.columns, p.columns);
}

/* Multiply all rows of a by the tile of b that begins at k, n; `tile`, part of b or a copy, has rows `b_row` apart. */
static void tile_of(struct product p, int64_t k, int64_t n, const float *tile, int64_t b_row) {
    int64_t depth = i64_min(TILE_K, p.depth - k), width = i64_min(TILE_N, p.columns - n);
    for (int64_t m = 0; m < p.rows; m++)
        for (int64_t i = 0; i < depth; i++)
            add_row(p.c + m * p.columns + n, p.a[m * p.depth + k + i], tile + i * b_row, width);
}

static void tiled(struct product p) {
    memset(p.c, 0, (size_t)(p.rows * p.columns) * sizeof *p.c);
    for (int64_t n = 0; n < p.columns; n += TILE_N)
        for (int64_t k = 0; k < p.depth; k += TILE_K) tile_of(p, k, n, p.b + k * p.columns + n, p.columns);
}

static void packed(struct product p) {
    float tile[TILE_K * TILE_N];
    memset(p.c, 0, (size_t)(p.rows * p.columns) * sizeof *p.c);
    for (int64_t n = 0; n < p.columns; n += TILE_N)
        for (int64_t k = 0; k < p.depth; k += TILE_K) {
            int64_t depth = i64_min(TILE_K, p.depth - k), width = i64_min(TILE_N, p.columns - n);
            for (int64_t i = 0; i < depth; i++)
                memcpy(tile + i * TILE_N, p.b + (k + i) * p.columns + n, (size_t)width * sizeof *tile);
            tile_of(p, k, n, tile, TILE_N);
        }
}

/* Multiply one panel of COLUMNS at a time, by the micro-kernel for each strip of ROWS. */
static void registers(struct product p) {
    _Alignas(64) float panel[DEPTH * COLUMNS];
    for (int64_t n = 0; n < p.columns; n += COLUMNS)
        for (int64_t k = 0; k < p.depth; k += DEPTH) {
            int64_t depth = i64_min(DEPTH, p.depth - k), width = i64_min(COLUMNS, p.columns - n);
            pad_into(panel, COLUMNS, p.b + k * p.columns + n, p.columns, depth, width);
            panel_product(p.c + n, p.columns, p.a + k, p.depth, 1, ROWS * p.depth, panel, COLUMNS, p.rows, width, depth,
                          k > 0, NULL);
        }
}

/* Run version number `rung`, from 0 (naive) to 5 (threaded). Return -1 when memory runs out. */
static int matmul_ladder(float *c, const float *a, const float *b, int64_t rows, int64_t columns, int64_t depth,
                         int rung) {
    static void (*const rungs[])(struct product) = {naive, reordered, tiled, packed, registers};
    if (rung < 5 && depth > 0) {
        rungs[rung]((struct product){c, a, b, rows, columns, depth});
        return 0;
    }
    return matmul(c, NULL, a, b, NULL, 1, rows, columns, depth, 1, 1, 0, 0);
}
