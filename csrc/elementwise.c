/* Elementwise kernels: activation functions, the residual sum, dropout.
 *
 *     gelu(x)      = x P(x),            P(x) = (1 + erf(x / sqrt 2)) / 2, the normal distribution
 *     gelu_tanh(x) = x sigmoid(2 u),  u = sqrt(2 / pi) (x + 0.044715 x**3); (1 + tanh u) / 2 = sigmoid(2 u)
 *     silu(x)      = x sigmoid(x)
 *     swiglu       = silu(gate) up
 *
 * The spec makes one pass over memory per NumPy call; here there is one pass in all, and exp is a polynomial
 * on sixteen lanes. 1 + erf and 1 + tanh are not computed, because far below 0 they lose all digits. The tail of
 * the normal distribution and the sigmoid keep theirs: over all floats, the error of gelu is at most 6.1 ulp, that
 * of silu 3.4. At -infinity, gelu and silu are NaN (-inf times 0), as in the spec, and so is swiglu.
 *
 * Compared with the spec on one AVX2 core, for 768 x 512 numbers: silu and swiglu are 8 times as fast, gelu_tanh
 * 4, gelu 26 (NumPy has no erf), add the same, because it only waits for memory. gelu took 10.3 ns for sixteen numbers
 * when its tail was a polynomial of degree 10 and the error of t * t was corrected afterwards, and 8.0 ns with a ratio
 * of two short polynomials and the exact t * t inside the exponential. With AVX-512 it took 7.7 ns, and 7.1 ns since
 * v_bell_times no longer halves the remainder.
 *
 * The bits of a result do not depend on its place in the array: the last ones are computed in sixteen lanes, too.
 */

/* --- gelu ----------------------------------------------------------------------------------------------- */

/* max(x, 0) - |x| T, T = 1 - P(|x|) */
INLINE v16 v_gelu(v16 x) {
    v16 zero = v_set(0.0f), t = v_min(v_abs(x), v_set(FAR)), below = v_min(x, zero);
    v16 y = v_sub(v_max(x, zero), v_tail_times(t, t));
    return v_sub(y, v_sub(below, below)); /* y, but NaN if x is -infinity */
}
UNARY(gelu, v_gelu(x))

/* P(x) + x exp(-x**2 / 2) / sqrt(2 pi) */
INLINE v16 v_gelu_slope(v16 x) {
    v16 one = v_set(1.0f), t = v_min(v_abs(x), v_set(FAR));
    v16 tail = v_tail_times(t, one);
    v16 p = v_select(v_less(x, v_set(0.0f)), tail, v_sub(one, tail));
    return v_add(p, v_bell_times(t, v_mul(v_with_sign(t, x), v_set(0.398942280f))));
}
BINARY(gelu_backward, v_mul(x, v_gelu_slope(y)))

/* --- gelu_tanh ------------------------------------------------------------------------------------------ */

UNARY(gelu_tanh, v_gelu_tanh(x))

/* s (1 + x (1 - s) 2 u'(x)), s = sigmoid(2 u) */
INLINE v16 v_gelu_tanh_slope(v16 x) {
    v16 one = v_set(1.0f), cut;
    v16 s = v_gate(x, &cut);
    v16 slope = v_fma(v_mul(cut, cut), v_set(3 * CUBIC), v_set(SLOPE));
    v16 change = v_mul(v_mul(cut, slope), v_sub(one, s));
    return v_fma(s, change, s);
}
BINARY(gelu_tanh_backward, v_mul(x, v_gelu_tanh_slope(y)))

/* --- silu and swiglu ------------------------------------------------------------------------------------ */

/* x / (1 + e) above 0 and x e / (1 + e) below, e = exp(-|x|) */
INLINE v16 v_silu(v16 x) {
    const v16 zero = v_set(0.0f);
    v16 minus = v_minus_abs(x);
    v16 below = v_exp_times(minus, v_max(x, v_set(-110.0f)));
    below = v_fma(x, zero, below); /* adds 0, but NaN at -infinity */
    return v_div(v_select(v_less(x, zero), below, x), v_add(v_set(1.0f), v_exp(minus)));
}

/* silu'(x) = s (1 + x (1 - s)) */
INLINE v16 v_silu_slope(v16 x, v16 s) {
    const v16 one = v_set(1.0f);
    return v_mul(s, v_fma(x, v_sub(one, s), one));
}

UNARY(silu, v_silu(x))
BINARY(silu_backward, v_mul(x, v_silu_slope(y, v_sigmoid(y))))
BINARY(swiglu, v_mul(v_silu(x), y))
ELEMENTWISE(
    swiglu_backward, (float *dgate, float *dup, const float *dy, const float *gate, const float *up, int64_t n),
    (.y = dgate, .z = dup, .a = dy, .b = gate, .c = up),
    v16 dy = load(e->a, i, n), gate = load(e->b, i, n), up = load(e->c, i, n), s = v_sigmoid(gate);
    v_store_partial(e->y + i, n, v_mul(v_mul(dy, up), v_silu_slope(gate, s)));
    v_store_partial(e->z + i, n, v_mul(dy, v_silu(gate)));)

/* --- add and dropout ------------------------------------------------------------------------------------ */

BINARY(add, v_add(x, y))

/* Dropout draws its mask from the key each time, so no mask is stored. A thread can begin at any word: number i is a
 * hash of key + i GOLDEN (SplitMix64, as in rng.py). An element uses sixteen bits, so four elements share a word. One
 * loop hashes the words of a piece, the next compares them with p: the compiler can vectorise both. */

#define GOLDEN 0x9E3779B97F4A7C15u

INLINE uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

struct dropout_job {
    float *y;
    const float *x;
    uint64_t first_word;
    int least; /* elements that draw this number or more, of 65536, are kept */
    float factor;
    int64_t n;
};

static void dropout_part(void *context, int64_t begin, int64_t end) {
    const struct dropout_job *job = context;
    for (int64_t piece = begin; piece < end; piece++) {
        uint64_t words[PIECE / 4], first = job->first_word + (uint64_t)(piece * (PIECE / 4)) * GOLDEN;
        for (int w = 0; w < PIECE / 4; w++) words[w] = mix(first + (uint64_t)w * GOLDEN);
        uint16_t draws[PIECE]; /* lowest sixteen bits first: every supported CPU is little-endian */
        memcpy(draws, words, sizeof draws);
        const float *x = job->x + piece * PIECE, factor = job->factor;
        float *restrict y = job->y + piece * PIECE;
        int64_t n = i64_min(job->n - piece * PIECE, PIECE);
        int least = job->least;
        for (int64_t i = 0; i < n; i++) y[i] = x[i] * (draws[i] >= least ? factor : 0.0f);
    }
}
static void dropout(float *y, const float *x, uint64_t key, uint64_t counter, int least, float factor, int64_t n) {
    struct dropout_job job = {y, x, key + (counter + 1) * GOLDEN, least, factor, n};
    parallel_for(dropout_part, &job, ceil_div(n, PIECE), 16);
}

/* --- the functions of approx.h ---------------------------------------------------------------------------- */

UNARY(exp_each, v_exp(x)) /* the C library has the name exp */
UNARY(log_each, v_log(x))
UNARY(tanh_each, v_tanh(x))
UNARY(sigmoid, v_sigmoid(x))
