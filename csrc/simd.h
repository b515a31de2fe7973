/* Compute with sixteen floats at a time, with the same bits on every instruction set.
 *
 * Kernels use the type `v16`: one 512-bit register, two of 256 bits or four of 128 bits. Sums keep sixteen partial
 * sums and add them in a fixed order (`v_sum`), so the result does not depend on the register width. `vec` is one
 * native register, for matmul: there each output is summed in one lane, so the width changes nothing.
 *
 * A multiply-add is fused only where the code calls `v_fma` or `vec_fma`: the files are compiled with
 * -ffp-contract=off, because a compiler may fuse either product of a * b + c * d, and its choice would differ from
 * level to level. (-ffast-math is never used: it would reorder sums and assume that there are no infinities.)
 *
 * A level file defines LANES (4, 8 or 16), VEC_FMA, VEC_SQRT, VEC_MAX and VEC_MIN before it includes this one. Where
 * its instruction set has fast versions of them, it also defines VEC_LOAD_WHERE and VEC_STORE_WHERE (only the lanes
 * whose mask is set) and VEC_SCALE (x 2**n).
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));
typedef uint32_t uvec __attribute__((vector_size(4 * LANES))); /* sums of signed integers may not wrap */
typedef float vec4 __attribute__((vector_size(16)));
typedef int32_t ivec4 __attribute__((vector_size(16)));
typedef float half_vec __attribute__((vector_size(2 * LANES)));
typedef double dvec __attribute__((vector_size(4 * LANES)));

#define PARTS (16 / LANES)
typedef struct { vec part[PARTS]; } v16;
typedef struct { ivec part[PARTS]; } i16; /* sixteen 32-bit integers; as the result of a comparison, 0 or -1 */
typedef struct { dvec part[2 * PARTS]; } d16; /* sixteen doubles, for sums that must not lose small terms */

#define INLINE static inline __attribute__((always_inline, unused))
#define EACH(i) for (int i = 0; i < PARTS; i++)

INLINE int64_t i64_min(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t i64_max(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* --- native registers ------------------------------------------------------------------------------------------ */

INLINE vec vec_load(const float *p) { vec x; memcpy(&x, p, sizeof x); return x; }
INLINE void vec_store(float *p, vec x) { memcpy(p, &x, sizeof x); }
INLINE vec vec_set(float x) { return x - (vec){0}; } /* x - 0 is x, signed zeros and NaN included */
INLINE vec vec_fma(vec a, vec b, vec c) { return VEC_FMA(a, b, c); }

/* Prefetch an element into the L1 cache or (far) into the larger L2 cache. It may lie beyond the end of the array: a
 * prefetch cannot fail, and its address is computed as an integer, because C forbids such a pointer. */
INLINE uintptr_t address_of(const float *p, int64_t i) { return (uintptr_t)p + (uintptr_t)i * sizeof *p; }
INLINE void prefetch_beyond(const float *p, int64_t i) { __builtin_prefetch((const void *)address_of(p, i)); }
INLINE void prefetch_far_beyond(const float *p, int64_t i) { __builtin_prefetch((const void *)address_of(p, i), 0, 2); }

/* --- sixteen at a time ----------------------------------------------------------------------------------------- */

INLINE v16 v_set(float x) { v16 r; EACH(i) r.part[i] = vec_set(x); return r; }
INLINE i16 i_set(int32_t x) { i16 r; EACH(i) r.part[i] = x - (ivec){0}; return r; }

INLINE v16 v_load(const float *p) { v16 r; EACH(i) r.part[i] = vec_load(p + i * LANES); return r; }
INLINE void v_store(float *p, v16 x) { EACH(i) vec_store(p + i * LANES, x.part[i]); }

/* Convert bfloat16 numbers, which are the upper halves of floats, to floats. */
INLINE vec vec_load_halves(const uint16_t *p) {
    typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
    halves h;
    memcpy(&h, p, sizeof h);
    return (vec)(__builtin_convertvector(h, uvec) << 16);
}
INLINE float from_half(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
INLINE v16 v_load_halves(const uint16_t *p) { v16 r; EACH(i) r.part[i] = vec_load_halves(p + i * LANES); return r; }

/* If the length of a row is not a multiple of sixteen, its last register holds only n < 16 numbers. Loads and stores
 * touch only these, and nothing after the row. (Copying n floats to a padded buffer took longer than a row of 64
 * floats, because a load waits until the stores of the copy reach the cache.) */
INLINE i16 v_first(int64_t n) { /* the lanes below n */
    static const int32_t lanes[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    i16 mask;
    memcpy(&mask, lanes + (n < 16 ? 16 - n : 0), sizeof mask);
    return mask;
}

#ifndef VEC_LOAD_WHERE
INLINE vec vec_load_where(const float *p, ivec mask, vec x) {
    for (int i = 0; i < LANES; i++)
        if (mask[i]) x[i] = p[i];
    return x;
}
#define VEC_LOAD_WHERE(p, mask, fill) vec_load_where(p, mask, fill)
#endif

/* Load or store the first n lanes, or all if n >= 16. A load fills the others with `fill`; a store skips them. */
INLINE v16 v_load_partial(const float *p, int64_t n, float fill) {
    if (__builtin_constant_p(n) && n >= 16) return v_load(p);
    v16 r = v_set(fill);
    i16 mask = v_first(n);
    EACH(i) r.part[i] = VEC_LOAD_WHERE(p + i * LANES, mask.part[i], r.part[i]);
    return r;
}
INLINE void v_store_partial(float *p, int64_t n, v16 x) {
    if (n >= 16) {
        v_store(p, x);
        return;
    }
#ifdef VEC_STORE_WHERE
    i16 mask = v_first(n);
    EACH(i) VEC_STORE_WHERE(p + i * LANES, mask.part[i], x.part[i]);
#else /* in pieces of 8, 4, 2 and 1 */
    float row[16];
    v_store(row, x);
    if (n & 8) memcpy(p, row, 32);
    if (n & 4) memcpy(p + (n & 8), row + (n & 8), 16);
    if (n & 2) memcpy(p + (n & 12), row + (n & 12), 8);
    if (n & 1) p[n - 1] = row[n - 1];
#endif
}

/* Return the first n lanes, and 0 in the others. */
INLINE v16 v_keep(v16 x, int64_t n) {
    if (__builtin_constant_p(n) && n >= 16) return x;
    i16 mask = v_first(n);
    EACH(i) x.part[i] = (vec)((ivec)x.part[i] & mask.part[i]);
    return x;
}

/* Run a body for every sixteen numbers of a row; it computes the n numbers from number i on. n is 16, a constant, so
 * that whole registers need no mask. If n < 16 numbers are left, the body runs once more, for these. */
#define ROW(i, n, length, ...)                                                                                        \
    {                                                                                                                 \
        const int64_t whole_ = (length) & ~(int64_t)15;                                                               \
        for (int64_t i = 0; i < whole_; i += 16) { enum { n = 16 }; __VA_ARGS__ }                                     \
        if (whole_ < (length)) { const int64_t i = whole_, n = (length) - whole_; __VA_ARGS__ }                       \
    }

INLINE v16 v_add(v16 a, v16 b) { EACH(i) a.part[i] += b.part[i]; return a; }
INLINE v16 v_sub(v16 a, v16 b) { EACH(i) a.part[i] -= b.part[i]; return a; }
INLINE v16 v_mul(v16 a, v16 b) { EACH(i) a.part[i] *= b.part[i]; return a; }
INLINE v16 v_div(v16 a, v16 b) { EACH(i) a.part[i] /= b.part[i]; return a; }
INLINE v16 v_fma(v16 a, v16 b, v16 c) { EACH(i) c.part[i] = vec_fma(a.part[i], b.part[i], c.part[i]); return c; }

INLINE v16 v_sqrt(v16 a) { EACH(i) a.part[i] = VEC_SQRT(a.part[i]); return a; } /* correctly rounded, like division */

INLINE i16 v_less(v16 a, v16 b) { i16 r; EACH(i) r.part[i] = (ivec)(a.part[i] < b.part[i]); return r; }
INLINE i16 v_equal(v16 a, v16 b) { i16 r; EACH(i) r.part[i] = (ivec)(a.part[i] == b.part[i]); return r; }

/* mask ? a : b, lane by lane */
INLINE v16 v_select(i16 mask, v16 a, v16 b) {
    EACH(i) b.part[i] = (vec)((mask.part[i] & (ivec)a.part[i]) | (~mask.part[i] & (ivec)b.part[i]));
    return b;
}
/* a < b ? b : a and b < a ? b : a, lane by lane: where either is NaN, or both are zero, a is kept */
INLINE v16 v_max(v16 a, v16 b) { EACH(i) a.part[i] = VEC_MAX(a.part[i], b.part[i]); return a; }
INLINE v16 v_min(v16 a, v16 b) { EACH(i) a.part[i] = VEC_MIN(a.part[i], b.part[i]); return a; }

INLINE i16 v_bits(v16 x) { i16 r; EACH(i) r.part[i] = (ivec)x.part[i]; return r; }
INLINE v16 i_float(i16 x) { v16 r; EACH(i) r.part[i] = (vec)x.part[i]; return r; } /* the same bits, read as floats */
INLINE i16 i_add(i16 a, i16 b) { EACH(i) a.part[i] = (ivec)((uvec)a.part[i] + (uvec)b.part[i]); return a; }
INLINE i16 i_sub(i16 a, i16 b) { EACH(i) a.part[i] = (ivec)((uvec)a.part[i] - (uvec)b.part[i]); return a; }
INLINE i16 i_and(i16 a, i16 b) { EACH(i) a.part[i] &= b.part[i]; return a; }
INLINE i16 i_or(i16 a, i16 b) { EACH(i) a.part[i] |= b.part[i]; return a; }
INLINE i16 i_shift_left(i16 a, int n) { EACH(i) a.part[i] = (ivec)((uvec)a.part[i] << n); return a; }
INLINE i16 i_shift_right(i16 a, int n) { EACH(i) a.part[i] >>= n; return a; } /* keeps the sign */

INLINE v16 v_abs(v16 x) { return i_float(i_and(v_bits(x), i_set(0x7fffffff))); }
INLINE v16 v_minus_abs(v16 x) { return i_float(i_or(v_bits(x), i_set(INT32_MIN))); }
/* x >= 0 with the sign of y */
INLINE v16 v_with_sign(v16 x, v16 y) { return i_float(i_or(v_bits(x), i_and(v_bits(y), i_set(INT32_MIN)))); }

/* Return 1 if any lane of a comparison is true. */
INLINE int i_any(i16 mask) {
    ivec any = mask.part[0];
    for (int i = 1; i < PARTS; i++) any |= mask.part[i];
    uint64_t words[LANES / 2], found = 0;
    memcpy(words, &any, sizeof any);
    for (int i = 0; i < LANES / 2; i++) found |= words[i];
    return found != 0;
}

/* --- sixteen doubles ------------------------------------------------------------------------------------------- */

INLINE d16 d_set(double x) { d16 r; for (int i = 0; i < 2 * PARTS; i++) r.part[i] = x - (dvec){0}; return r; }
INLINE d16 d_add(d16 a, d16 b) { for (int i = 0; i < 2 * PARTS; i++) a.part[i] += b.part[i]; return a; }
INLINE d16 d_mul(d16 a, d16 b) { for (int i = 0; i < 2 * PARTS; i++) a.part[i] *= b.part[i]; return a; }
INLINE d16 d_widen(v16 x) {
    half_vec half[2 * PARTS];
    memcpy(half, &x, sizeof x);
    d16 r;
    for (int i = 0; i < 2 * PARTS; i++) r.part[i] = __builtin_convertvector(half[i], dvec);
    return r;
}

/* --- sixteen to one -------------------------------------------------------------------------------------------- */

/* Add lanes i and i + 8, then i and i + 4, then i and i + 2, then the last two. */
INLINE float v_sum(v16 x) {
    float row[16]; /* a copy: with a union, the compiler would keep x in memory while terms are added to it */
    v_store(row, x);
    vec4 q[4];
    memcpy(q, row, sizeof q);
    vec4 s = (q[0] + q[2]) + (q[1] + q[3]);
    return (s[0] + s[2]) + (s[1] + s[3]);
}
INLINE double d_sum(d16 x) { /* in the same order */
    double s[16];
    memcpy(s, &x, sizeof s);
    for (int n = 8; n > 0; n /= 2)
        for (int i = 0; i < n; i++) s[i] += s[i + n];
    return s[0];
}
INLINE vec4 vec4_max(vec4 a, vec4 b) {
    ivec4 less = (ivec4)(a < b);
    return (vec4)((less & (ivec4)b) | (~less & (ivec4)a));
}
INLINE float v_max_lane(v16 x) { /* in the same order; if one of them is NaN, the result is the same at every level */
    float row[16];
    v_store(row, x);
    vec4 q[4];
    memcpy(q, row, sizeof q);
    vec4 m = vec4_max(vec4_max(q[0], q[2]), vec4_max(q[1], q[3]));
    float even = m[0] < m[2] ? m[2] : m[0], odd = m[1] < m[3] ? m[3] : m[1];
    return even < odd ? odd : even;
}
