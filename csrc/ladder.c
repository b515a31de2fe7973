/* matmul_ladder: the same product, c = a b, six times, each faster than the one before. matmul.c is the last rung.
 *
 * A product of n x n matrices is 2 n**3 operations on 3 n**2 numbers: there is work for hundreds of operations on every
 * number that is fetched. The ladder is the story of fetching each number less often. In front, GFLOP/s for n = 1024 on
 * one core with AVX-512 that can do about 245:
 *
 *     0.6  naive      the formula as it stands. Each step of k takes b from another row: a cache line for one number.
 *      48  reordered  k outside, columns inside: rows of b and c are read as they lie, sixteen numbers at a time.
 *      39  tiled      a tile of b that the cache holds serves all rows of a. Alone it loses: rows of b that lie 4 KiB
 *                     apart compete for the same few places of the cache, and push each other out.
 *      63  packed     so the tile is first copied to where it is contiguous.
 *     222  registers  a block of c stays in registers while k goes by (tile.h): per multiply-add, loads nearly vanish.
 *          threaded   all of that, blocks of rows shared out between threads: matmul itself.
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

/* Add x times a row of b to `width` columns of a row of c: the inner loop of the next three rungs. */
INLINE void add_row(float *restrict c, float x, const float *restrict b, int64_t width) {
    for (int64_t n = 0; n < width; n++) c[n] += x * b[n];
}

static void reordered(struct product p) {
    memset(p.c, 0, (size_t)(p.rows * p.columns) * sizeof *p.c);
    for (int64_t m = 0; m < p.rows; m++)
        for (int64_t k = 0; k < p.depth; k++)
            add_row(p.c + m * p.columns, p.a[m * p.depth + k], p.b + k * p.columns, p.columns);
}

/* Multiply all rows of a by the tile of b that begins at k, n; the tile's rows lie `b_row` apart, also in a copy. */
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

/* rung: 0 naive ... 5 threaded. Returns -1 when memory is lacking. */
static int matmul_ladder(float *c, const float *a, const float *b, int64_t rows, int64_t columns, int64_t depth,
                         int rung) {
    static void (*const rungs[])(struct product) = {naive, reordered, tiled, packed, registers};
    if (rung < 5 && depth > 0) {
        rungs[rung]((struct product){c, a, b, rows, columns, depth});
        return 0;
    }
    return matmul(c, NULL, a, b, NULL, 1, rows, columns, depth, 1, 1, 0, 0);
}
