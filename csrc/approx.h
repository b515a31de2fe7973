/* exp on sixteen floats: own polynomials, the same bits at every level.  (tanh, erf follow.)
 *
 *   exp(x) = 2**n * exp(r),  n = round(x / ln 2),  r = x - n * ln 2,  |r| <= ln 2 / 2
 */

INLINE v16 v_exp(v16 x) {
    const v16 low = v_set(-104.0f), high = v_set(89.0f); /* beyond these the result is 0 and infinity */
    const v16 magic = v_set(12582912.0f);                /* 1.5 * 2**23: adding it rounds to an integer */
    x = v_select(v_less(x, low), low, x);                /* a NaN passes both tests */
    x = v_select(v_less(high, x), high, x);
    v16 t = v_fma(x, v_set(1.44269504f), magic);
    v16 n = v_sub(t, magic);
    v16 r = v_fma(n, v_set(-0.693359375f), x); /* ln 2 in two parts; the first has zeros to spare, so n * it is exact */
    r = v_fma(n, v_set(2.12194440e-4f), r);
    v16 y = v_set(1.0f / 5040);
    y = v_fma(y, r, v_set(1.0f / 720));
    y = v_fma(y, r, v_set(1.0f / 120));
    y = v_fma(y, r, v_set(1.0f / 24));
    y = v_fma(y, r, v_set(1.0f / 6));
    y = v_fma(y, r, v_set(0.5f));
    y = v_fma(y, r, v_set(1.0f));
    y = v_fma(y, r, v_set(1.0f));
    /* 2**n in two factors, because n reaches -150 and 128, and each factor must be a normal number */
    i16 whole = i_sub(v_bits(t), v_bits(magic));
    i16 half = i_shift_right(whole, 1);
    v16 first = i_float(i_shift_left(i_add(half, i_set(127)), 23));
    v16 second = i_float(i_shift_left(i_add(i_sub(whole, half), i_set(127)), 23));
    return v_mul(v_mul(y, first), second);
}
