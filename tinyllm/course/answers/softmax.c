#include <math.h>

void softmax(float *y, const float *x, long rows, long n) {
    for (long r = 0; r < rows; r++) {
        const float *in = x + r * n;
        float *out = y + r * n, largest = -INFINITY, sum = 0;
        for (long i = 0; i < n; i++)
            if (in[i] > largest) largest = in[i];
        for (long i = 0; i < n; i++)
            sum += out[i] = largest == -INFINITY ? 0 : expf(in[i] - largest);
        for (long i = 0; i < n; i++)
            out[i] *= sum > 0 ? 1 / sum : 0;
    }
}
