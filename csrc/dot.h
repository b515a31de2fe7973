/* Add four products of bytes in each 32-bit lane, exactly: sum + w0 x0 + w1 x1 + w2 x2 + w3 x3.
 *
 * w and x hold four bytes in each lane; those of x are -127..127. `dot_signed` takes signed w; its result is too large
 * by DOT_EXCESS * (x0 + x1 + x2 + x3), which the caller subtracts beforehand. `dot_small` takes w of 0..15.
 *
 * VNNI has one instruction, for unsigned times signed bytes: the unsigned byte is w + 128, or w with its upper bit
 * flipped. AVX2 and AVX-512 have `maddubs`, which adds two products in 16 bits. It cannot overflow here: |w| |x|
 * is at most 128 * 127, and twice that fits. On other CPUs the bytes are widened to 32 bits by shifts. A level file
 * chooses with DOT_VNNI, DOT_AVX512 or DOT_AVX2.
 */
#if defined(DOT_VNNI)
#define DOT_EXCESS 128
INLINE ivec dot_signed(ivec sum, ivec w, ivec x) {
    return (ivec)DOT_VNNI((NATIVE)sum, (NATIVE)(w ^ (int32_t)0x80808080), (NATIVE)x);
}
INLINE ivec dot_small(ivec sum, ivec w, ivec x) { return (ivec)DOT_VNNI((NATIVE)sum, (NATIVE)w, (NATIVE)x); }

#elif defined(DOT_AVX512)
#define DOT_EXCESS 0
INLINE ivec dot_small(ivec sum, ivec w, ivec x) {
    __m512i pairs = _mm512_maddubs_epi16((__m512i)w, (__m512i)x);
    return sum + (ivec)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}
INLINE ivec dot_signed(ivec sum, ivec w, ivec x) { /* |w| times x with the sign of w */
    __m512i zero = _mm512_setzero_si512();
    __mmask64 negative = _mm512_movepi8_mask((__m512i)w);
    x = (ivec)_mm512_mask_sub_epi8((__m512i)x, negative, zero, (__m512i)x);
    return dot_small(sum, (ivec)_mm512_abs_epi8((__m512i)w), x);
}

#elif defined(DOT_AVX2)
#define DOT_EXCESS 0
INLINE ivec dot_small(ivec sum, ivec w, ivec x) {
    __m256i pairs = _mm256_maddubs_epi16((__m256i)w, (__m256i)x);
    return sum + (ivec)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
INLINE ivec dot_signed(ivec sum, ivec w, ivec x) { /* |w| times x with the sign of w */
    x = (ivec)_mm256_sign_epi8((__m256i)x, (__m256i)w);
    return dot_small(sum, (ivec)_mm256_abs_epi8((__m256i)w), x);
}

#else
#define DOT_EXCESS 0
INLINE ivec dot_byte(ivec bytes, int i) { return (ivec)((uvec)bytes << (24 - 8 * i)) >> 24; } /* with its sign */
INLINE ivec dot_signed(ivec sum, ivec w, ivec x) {
    for (int i = 0; i < 4; i++) sum += dot_byte(w, i) * dot_byte(x, i);
    return sum;
}
INLINE ivec dot_small(ivec sum, ivec w, ivec x) { return dot_signed(sum, w, x); }
#endif
