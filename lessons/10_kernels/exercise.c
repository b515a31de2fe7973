/* Lesson 10. Fill in the two functions; then run `tinyllm check 10`.
 *
 * All arrays lie row by row: element (i, j) of an array with n columns is
 * [i * n + j]. Any size may be 0. What is const is only read, and nothing
 * outside of the arrays is touched: around each of them lies memory that nobody
 * may touch, and the checker says so when you do.
 */

#include <math.h>

/* Turn scores into probabilities, row by row: x (rows, n) -> y (rows, n). Every
 * y >= 0, and every row sums to 1. A row of nothing but -inf gives zeros. Other
 * scores may be -inf too.
 */
void softmax(float *y, const float *x, long rows, long n) {
}

/* Multiply two matrices: a (m, k), b (k, n) -> y (m, n). y holds nothing of use
 * when this is called.
 */
void matmul(float *y, const float *a, const float *b, long m, long k, long n) {
}
