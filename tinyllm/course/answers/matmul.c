void matmul(float *y, const float *a, const float *b, long m, long k, long n) {
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            float sum = 0;
            for (long p = 0; p < k; p++)
                sum += a[i * k + p] * b[p * n + j];
            y[i * n + j] = sum;
        }
}
