/* Compute exp, log, tanh and similar functions of sixteen floats, with the same bits on every platform. C libraries do
 * not promise that. There are no branches, so sixteen lanes are computed at once.
 *
 * Each function reduces its argument to a short interval, and evaluates a polynomial whose largest relative error there
 * is as small as possible. Its coefficients were found by Lawson's algorithm (C. L. Lawson, 1961) at 1,000 Chebyshev
 * points: 300 least-squares fits, each with more weight where the last had large errors. They were rounded to float32
 * one at a time, lowest power first, and the others fitted again. For f = p / q, p - f q was fitted to 0.
 *
 * The errors stated are the largest over all 2**32 floats (tests/unit/test_approx.py tries some of them), in ulp, the
 * distance between neighbouring floats. NaN stays NaN, results too small for a normal float are subnormal, and at
 * infinity the result is the exact limit.
 */

/* c[0] + c[1] x + ... + c[n - 1] x**(n - 1), by Horner's rule */
INLINE v16 v_polynomial(const float *c, int n, v16 x) {
    v16 y = v_set(c[n - 1]);
    for (int i = n - 2; i >= 0; i--) y = v_fma(y, x, v_set(c[i]));
    return y;
}
#define POLYNOMIAL(c, x) v_polynomial(c, (int)(sizeof c / sizeof *c), x)

/* 2**n, -126 <= n <= 127 */
INLINE v16 v_power_of_two(i16 n) { return i_float(i_shift_left(i_add(n, i_set(127)), 23)); }

/* Adding 1.5 * 2**23 to a number rounds it to an integer n, which is then in the low bits of the sum. */
#define MAGIC v_set(12582912.0f)
INLINE i16 v_low_bits(v16 t) { return i_sub(v_bits(t), v_bits(MAGIC)); }

/* Compute c y 2**n, n = t - MAGIC. The product with c comes first, so that a subnormal result is rounded only once.
 * Without VEC_SCALE, 2**n is split into two factors, because n lies in -159..128 and each must be a normal number. */
INLINE v16 v_scale(v16 y, v16 c, v16 t) {
    y = v_mul(y, c);
#ifdef VEC_SCALE
    v16 n = v_sub(t, MAGIC);
    EACH(i) y.part[i] = VEC_SCALE(y.part[i], n.part[i]);
    return y;
#else
    i16 n = v_low_bits(t), half = i_shift_right(n, 1);
    return v_mul(v_mul(y, v_power_of_two(half)), v_power_of_two(i_sub(n, half)));
#endif
}

/* --- exp and tanh --------------------------------------------------------------------------------------- */

/* Split x = n ln 2 + r, |r| <= ln 2 / 2, n = t - MAGIC an integer with |n| < 2**8. */
INLINE v16 v_reduce(v16 x, v16 *t) {
    *t = v_fma(x, v_set(1.44269504f), MAGIC);
    v16 n = v_sub(*t, MAGIC);
    v16 r = v_fma(n, v_set(-0.693359375f), x); /* ln 2 in two parts; the first has few bits, so this is exact */
    return v_fma(n, v_set(2.12194440e-4f), r);
}

/* exp(r) = 1 + (r + r**2 q(r)) for |r| <= ln 2 / 2 */
INLINE v16 v_exp_near(v16 r) {
    static const float q[] = {0.49999994f, 0.166665211f, 0.0416682623f, 0.00836867467f, 0.00138210552f};
    return v_add(v_fma(v_mul(r, r), POLYNOMIAL(q, r), r), v_set(1.0f));
}

/* c exp(x), where exp(x) = 2**n exp(r); |c| <= 110 */
INLINE v16 v_exp_times(v16 x, v16 c) {
    x = v_min(v_max(x, v_set(-110.0f)), v_set(89.0f)); /* beyond: 0 or infinity; NaN stays NaN */
    v16 t, r = v_reduce(x, &t);
    return v_scale(v_exp_near(r), c, t);
}

/* exp(x), with an error of at most 1.02 ulp */
INLINE v16 v_exp(v16 x) { return v_exp_times(x, v_set(1.0f)); }

/* tanh(x) = 1 - 2 / (exp(2 x) + 1), but x + x**3 q(x**2) below 0.6, where that would cancel: at most 1.34 ulp */
INLINE v16 v_tanh(v16 x) {
    static const float q[] = {-0.333332986f, 0.133319363f, -0.0537847169f, 0.0207986254f, -0.00589796668f};
    const v16 one = v_set(1.0f);
    v16 a = v_min(v_abs(x), v_set(10.0f)); /* tanh(10) is 1 to the last bit */
    v16 square = v_mul(a, a);
    v16 near = v_fma(v_mul(square, a), POLYNOMIAL(q, square), a);
    v16 t, e = v_exp_near(v_reduce(v_add(a, a), &t));
    v16 far = v_sub(one, v_div(v_set(2.0f), v_fma(e, v_power_of_two(v_low_bits(t)), one)));
    return v_with_sign(v_select(v_less(a, v_set(0.6f)), near, far), x);
}

/* sigmoid(x) = 1 / (1 + exp(-x)), with an exponential that cannot overflow: precise in both tails */
INLINE v16 v_sigmoid(v16 x) {
    const v16 one = v_set(1.0f);
    v16 e = v_exp(v_minus_abs(x));
    return v_div(v_select(v_less(x, v_set(0.0f)), e, one), v_add(one, e));
}

/* --- log ------------------------------------------------------------------------------------------------ */

/* log(x) = n ln 2 + log(1 + r), where x = 2**n (1 + r) and sqrt(1/2) <= 1 + r < sqrt(2);
 * log(1 + r) = r - r**2 / 2 + r**3 q(r): at most 0.83 ulp */
INLINE v16 v_log(v16 x) {
    static const float q[] = {0.333333135f,  -0.250000089f, 0.200020716f,  -0.166679889f, 0.142203584f,
                              -0.124062337f, 0.118835486f,  -0.116700985f, 0.0674926937f};
    const v16 zero = v_set(0.0f);
    const i16 root = i_set(0x3f3504f3); /* the bits of sqrt(1/2) */
    i16 subnormal = v_less(x, v_set(0x1p-126f));
    i16 bits = i_sub(v_bits(v_select(subnormal, v_mul(x, v_set(0x1p23f)), x)), root);
    i16 n = i_shift_right(bits, 23);
    v16 r = v_sub(i_float(i_add(i_and(bits, i_set(0x7fffff)), root)), v_set(1.0f));
    v16 whole = v_sub(i_float(i_add(n, v_bits(MAGIC))), MAGIC); /* n as a float */
    whole = v_sub(whole, v_select(subnormal, v_set(23.0f), zero));
    v16 y = v_fma(POLYNOMIAL(q, r), r, v_set(-0.5f));
    y = v_fma(y, v_mul(r, r), v_mul(whole, v_set(-2.12194440e-4f)));
    y = v_fma(whole, v_set(0.693359375f), v_add(r, y));
    y = v_select(v_less(x, v_set(INFINITY)), y, x); /* infinity and NaN are their own logarithms */
    y = v_select(v_equal(x, zero), v_set(-INFINITY), y);
    return v_select(v_less(x, zero), v_set(NAN), y);
}

INLINE float one_exp(float x) { return v_exp(v_set(x)).part[0][0]; }
INLINE float one_log(float x) { return v_log(v_set(x)).part[0][0]; }

/* --- the normal distribution ---------------------------------------------------------------------------- */

#define FAR 14.5f /* the probability that a normal number is larger than this is 0 in float32 */

/* c exp(-t**2 / 2), 0 <= t <= FAR. The rounding error of t * t would grow by a factor of t * t in the result. So only n
 * is computed from the rounded square, and the remainder from the exact one, as in v_reduce. The variable r is minus
 * twice the remainder, so that nothing has to be halved: the exponential of the remainder is 1 + r q(r). */
INLINE v16 v_bell_times(v16 t, v16 c) {
    static const float q[] = {-0.5f, 0.124999985f, -0.0208331514f, 0.00260426640f, -0.000261521084f, 0.0000215953988f};
    v16 shifted = v_fma(v_mul(t, t), v_set(-0.721347520f), MAGIC);
    v16 n = v_sub(shifted, MAGIC);
    v16 r = v_fma(t, t, v_mul(n, v_set(1.38671875f)));
    r = v_fma(n, v_set(-4.24388886e-4f), r);
    return v_scale(v_fma(POLYNOMIAL(q, r), r, v_set(1.0f)), c, shifted);
}

/* c P(X > t) for a standard normal number X, 0 <= t <= FAR: c exp(-t**2 / 2) p(t) / q(t). All coefficients are
 * positive, so nothing cancels. */
INLINE v16 v_tail_times(v16 t, v16 c) {
    static const float p[] = {0.5f, 0.43759498f, 0.182690144f, 0.0404418111f, 0.00408559991f};
    static const float q[] = {1.0f, 1.67307484f, 1.20029688f, 0.468024969f, 0.101379164f, 0.0102409581f};
    return v_bell_times(t, v_div(v_mul(c, POLYNOMIAL(p, t)), POLYNOMIAL(q, t)));
}

/* --- gelu_tanh: x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x**3) ------------------------------------- */

#define SLOPE 1.59576912f   /* 2 sqrt(2 / pi) */
#define CUBIC 0.0713548163f /* 0.044715 times that */

/* Return sigmoid(2 u); *cut is x limited to -FAR..FAR, so that x**3 cannot overflow. Beyond, the result is 0 or 1. */
INLINE v16 v_gate(v16 x, v16 *cut) {
    *cut = v_min(v_max(x, v_set(-FAR)), v_set(FAR));
    v16 square = v_mul(*cut, *cut);
    return v_sigmoid(v_mul(*cut, v_fma(square, v_set(CUBIC), v_set(SLOPE))));
}

INLINE v16 v_gelu_tanh(v16 x) {
    v16 cut;
    return v_mul(x, v_gate(x, &cut));
}

/* Compute y = gelu_tanh(x) for part of a matrix whose rows lie `row` apart: right after a product it is in cache. */
INLINE void gelu_tanh_rows(float *y, const float *x, int64_t row, int64_t rows, int64_t columns) {
    for (int64_t m = 0; m < rows; m++, x += row, y += row)
        ROW(i, n, columns, v_store_partial(y + i, n, v_gelu_tanh(v_load_partial(x + i, n, 0.0f)));)
}
