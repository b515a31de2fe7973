/* Define macros that make a multithreaded kernel from a function for one row, or for sixteen elements. */

/* Define a kernel that calls name_row(job, row) for each row. A thread gets more than `grain` rows, because waking it
 * costs time. `grain` and the initialisers of the job may use the kernel's arguments. */
#define BY_ROWS(name, type, rows, grain, arguments, ...)                                                              \
    static void name##_rows(void *given, int64_t begin, int64_t end) {                                                \
        const type job = *(const type *)given; /* a copy, which the compiler can keep in registers */                 \
        for (int64_t row = begin; row < end; row++) name##_row(&job, row);                                            \
    }                                                                                                                 \
    static void name arguments {                                                                                      \
        type job = {__VA_ARGS__};                                                                                     \
        parallel_for(name##_rows, &job, rows, 1 + (grain));                                                           \
    }

/* --- elements ----------------------------------------------------------------------------------------------------- */

struct elements {
    float *y, *z;
    const float *a, *b, *c;
    int64_t n;
};

enum { PIECE = 1024 }; /* elements; each piece is computed by one thread */

/* Call `at` for the elements from begin to end, sixteen at a time; the last call may have fewer. */
INLINE void walk(const void *job, int64_t begin, int64_t end, void (*at)(const void *, int64_t i, int64_t n)) {
    int64_t i = begin;
    for (; i + 16 <= end; i += 16) at(job, i, 16);
    if (i < end) at(job, i, end - i);
}

INLINE v16 load(const float *p, int64_t i, int64_t n) { return v_load_partial(p + i, n, 0.0f); }

/* Define a kernel from the code for sixteen elements; UNARY is for y = f(x), BINARY for z = f(x, y). Each thread gets
 * at least 8 pieces, because waking it costs time. */
#define ELEMENTWISE(name, arguments, fields, ...)                                                                     \
    INLINE void name##_at(const void *job, int64_t i, int64_t n) { const struct elements *e = job; __VA_ARGS__ }      \
    static void name##_part(void *e, int64_t begin, int64_t end) {                                                    \
        walk(e, begin * PIECE, i64_min(end * PIECE, ((const struct elements *)e)->n), name##_at);                     \
    }                                                                                                                 \
    static void name arguments {                                                                                      \
        parallel_for(name##_part, &(struct elements){FIELDS fields, .n = n}, ceil_div(n, PIECE), 8);                  \
    }
#define FIELDS(...) __VA_ARGS__
#define UNARY(name, value)                                                                                            \
    ELEMENTWISE(name, (float *y, const float *x, int64_t n), (.y = y, .a = x),                                        \
                v16 x = load(e->a, i, n); v_store_partial(e->y + i, n, value);)
#define BINARY(name, value)                                                                                           \
    ELEMENTWISE(name, (float *z, const float *x, const float *y, int64_t n), (.y = z, .a = x, .b = y),                \
                v16 x = load(e->a, i, n), y = load(e->b, i, n); v_store_partial(e->y + i, n, value);)
