/* Copy rows x depth elements to `to`, turning rows into columns: to[k][m] = from[m][k], four by four in registers.
 * Columns of `to` from `rows` up to `width` are filled with zeros. */
static void transpose_into(float *restrict to, int64_t to_row, const float *from, int64_t from_row, int64_t rows,
                           int64_t depth, int64_t width) {
    int64_t m = 0;
    for (; m + 4 <= rows; m += 4) {
        const float *f = from + m * from_row;
        int64_t k = 0;
        for (; k + 4 <= depth; k += 4) {
            vec4 r[4], s[4];
            for (int i = 0; i < 4; i++) memcpy(&r[i], f + i * from_row + k, 16);
            s[0] = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
            s[1] = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
            s[2] = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
            s[3] = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
            r[0] = __builtin_shufflevector(s[0], s[1], 0, 1, 4, 5);
            r[1] = __builtin_shufflevector(s[0], s[1], 2, 3, 6, 7);
            r[2] = __builtin_shufflevector(s[2], s[3], 0, 1, 4, 5);
            r[3] = __builtin_shufflevector(s[2], s[3], 2, 3, 6, 7);
            for (int i = 0; i < 4; i++) memcpy(to + (k + i) * to_row + m, &r[i], 16);
        }
        for (; k < depth; k++)
            for (int i = 0; i < 4; i++) to[k * to_row + m + i] = f[i * from_row + k];
    }
    for (; m < rows; m++)
        for (int64_t k = 0; k < depth; k++) to[k * to_row + m] = from[m * from_row + k];
    for (; m < width; m++)
        for (int64_t k = 0; k < depth; k++) to[k * to_row + m] = 0.0f;
}
