/* split: copy columns i C ... (i + 1) C - 1 of each row to part i;  join: copy the parts back into rows.
 *
 * Both copy rows of c floats, which begin every `y_row` and `x_row` floats. NumPy copies as fast, but on one
 * thread, and into memory that it gets from the system each time.
 */

static void copy_rows_row(const struct copy_rows_args *job, int64_t row) {
    memcpy(job->y + row * job->y_row, job->x + row * job->x_row, (size_t)job->c * sizeof(float));
}
BY_ROWS(copy_rows, rows, 32768 / (c + 1))
