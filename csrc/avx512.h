/* Define the macros that simd.h needs, for the three levels with 512-bit registers. */
#define LANES 16
#define VEC_FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define VEC_SQRT(a) _mm512_sqrt_ps(a)
#define VEC_MAX(a, b) _mm512_max_ps(b, a)
#define VEC_MIN(a, b) _mm512_min_ps(b, a)
#define VEC_LOAD_WHERE(p, mask, fill) _mm512_mask_loadu_ps(fill, _mm512_movepi32_mask((__m512i)(mask)), p)
#define VEC_STORE_WHERE(p, mask, x) _mm512_mask_storeu_ps(p, _mm512_movepi32_mask((__m512i)(mask)), x)
#define VEC_SCALE(x, n) _mm512_scalef_ps(x, n) /* x 2**n */

/* Combine four quarters into one register. Masked broadcasts do this without the shuffle unit, which is the limit. */
#define VEC_WITH(r, i, quarter) _mm512_mask_broadcast_f32x4(r, 0xf << 4 * i, (__m128)(quarter))
#define VEC_QUARTERS(q) \
    (vec)VEC_WITH(VEC_WITH(VEC_WITH(_mm512_castps128_ps512((__m128)q[0]), 1, q[1]), 2, q[2]), 3, q[3])
