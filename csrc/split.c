/* split: copy columns i C ... (i + 1) C - 1 of each row to part i;  join: copy the parts back into rows.
 *
 * Both copy rows of c floats, which begin every `y_row` and `x_row` floats. NumPy copies as fast, but on one
 * thread, and into memory that it gets from the system each time.
 */

struct split_job { float *y; const float *x; int64_t y_row, x_row, c; };

static void copy_rows_row(const struct split_job *job, int64_t row) {
    memcpy(job->y + row * job->y_row, job->x + row * job->x_row, (size_t)job->c * sizeof(float));
}
BY_ROWS(copy_rows, struct split_job, rows, 32768 / (c + 1),
        (float *y, int64_t y_row, const float *x, int64_t x_row, int64_t rows, int64_t c),
        .y = y, .y_row = y_row, .x = x, .x_row = x_row, .c = c)
