"""Softmax and matmul in C: right ones, and the mistakes that people make in them.

A wrong kernel is the reference with one thing changed; its sentence completes "your output equals ...".
"""

import re

from tinyllm.course.known import Answer, Answers
from tinyllm.testing.properties import EXTREME, INFINITE, ORDINARY

INSIDE = "it stays inside its arrays"
ENDLESS = "did not come to an end"
COMPILES = "does not compile"
ABORTS = "it calls abort()"
NAMELESS = (ENDLESS, COMPILES, ABORTS)  # these give no output to compare, and say enough

SOFTMAX = """#include <math.h>

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
"""
MATMUL = """void matmul(float *y, const float *a, const float *b, long m, long k, long n) {
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            float sum = 0;
            for (long p = 0; p < k; p++)
                sum += a[i * k + p] * b[p * n + j];
            y[i * n + j] = sum;
        }
}
"""
REFERENCES = {"softmax": SOFTMAX, "matmul": MATMUL}

FOUR = "for (long q = p; q < p + 4; q++) sum += a[i * k + q] * b[q * n + j]"

# op -> [(sentence, the property meant for it, {what stands in the reference: what stands there instead})]
CHANGES = {
    "softmax": [
        ("softmax without subtracting the maximum, so that exp overflows", EXTREME,
         {"expf(in[i] - largest)": "expf(in[i])"}),
        ("softmax that gives NaN for a row of nothing but -inf, where every token is masked", INFINITE,
         {"largest == -INFINITY ? 0 : ": ""}),
        ("a largest number that starts at 0, so that a row of large negative numbers vanishes", EXTREME,
         {"largest = -INFINITY, sum": "largest = 0, sum"}),
        ("softmax that subtracts the maximum of all rows so far, not of its own", EXTREME,
         {"    for (long r": "    float largest = -INFINITY;\n    for (long r",
          "largest = -INFINITY, sum": "sum"}),
        ("a sum that is not set to 0 for each row", ORDINARY,
         {"    for (long r": "    float sum = 0;\n    for (long r", "largest = -INFINITY, sum = 0":
          "largest = -INFINITY"}),
        ("exponentials that are never divided by their sum", ORDINARY,
         {"sum > 0 ? 1 / sum : 0": "1"}),
        ("exponentials divided by n, where their sum belongs", ORDINARY,
         {"sum > 0 ? 1 / sum : 0": "1.0f / n"}),
        ("x read as if it lay column by column", ORDINARY,
         {"x + r * n": "x + r", "in[i]": "in[i * rows]"}),
        ("rows and n in each other's place", ORDINARY,
         {"r < rows": "r < n", "r * n": "r * rows", "i < n": "i < rows"}),
        ("a y that is never set, or only added to", ORDINARY,
         {"out[i] = largest": "out[i] += largest"}),
        ("the base 2 in place of e", ORDINARY, {"expf(": "exp2f("}),
        ("a loop that goes to i <= n and reads x one element too far", INSIDE,
         {"i < n; i++)\n            if": "i <= n; i++)\n            if"}),
        ("a division that goes to i <= n, one element too far", INSIDE,
         {"i < n; i++)\n            out[i] *=": "i <= n; i++)\n            out[i] *="}),
        ("a sum that begins at i = -1", INSIDE,
         {"i = 0; i < n; i++)\n            sum": "i = -1; i < n; i++)\n            sum"}),
        ("differences stored in x, which is const", INSIDE,
         {"sum += out": "((float *)in)[i] -= largest, sum += out"}),
        ("an assert that a row has something in it, which ends the program for one that is masked",
         ABORTS,
         {"#include <math.h>": "#include <assert.h>\n#include <math.h>", "            out[i] *=":
          "            assert(sum > 0), out[i] *="}),
        ("a loop whose counter never moves", ENDLESS,
         {"i = 0; i < n; i++)\n            sum": "i = 0;; i += 0)\n            if (i >= n) break; else sum"}),
        ("a semicolon that is missing", COMPILES, {"largest = in[i];": "largest = in[i]"}),
    ],
    "matmul": [
        ("a y that is never set, or only added to", ORDINARY, {"+ j] = sum": "+ j] += sum"}),
        ("a sum that is not set to 0 for each element", ORDINARY,
         {"            float sum = 0;\n": "", "    for (long i": "    float sum = 0;\n    for (long i"}),
        ("b read as if it were transposed", ORDINARY, {"b[p * n + j]": "b[j * k + p]"}),
        ("a read as if it were transposed", ORDINARY, {"a[i * k + p]": "a[p * m + i]"}),
        ("b read with the stride of a", ORDINARY, {"b[p * n + j]": "b[p * k + j]"}),
        ("a read with the stride of y", ORDINARY, {"a[i * k + p]": "a[i * n + p]"}),
        ("y written column by column", ORDINARY, {"y[i * n + j]": "y[j * m + i]"}),
        ("a sum without its last term", ORDINARY, {"p < k": "p < k - 1"}),
        ("a first column that is never written", ORDINARY, {"long j = 0": "long j = 1"}),
        ("a sum that is a whole number", ORDINARY, {"float sum": "long sum"}),
        ("four terms at a time, without those that are left over", ORDINARY,
         {"p < k; p++": "p + 3 < k; p += 4",
          "sum += a[i * k + p] * b[p * n + j]": FOUR}),
        ("a sum that goes beyond its last term, as p <= k does", INSIDE, {"p < k": "p <= k"}),
        ("rows that go to i <= m, one too far", INSIDE, {"i < m": "i <= m"}),
        ("the sizes of square matrices, m for all three", INSIDE, {"j < n": "j < m", "p < k": "p < m",
         "i * k": "i * m", "* n + j": "* m + j"}),
        ("four terms at a time, also where fewer are left", INSIDE,
         {"p++": "p += 4",
          "sum += a[i * k + p] * b[p * n + j]": FOUR}),
        ("a counter without a sign that counts down, and is never below 0", ENDLESS,
         {"long p = 0; p < k; p++": "unsigned long p = k - 1; p >= 0; p--"}),
        ("a loop whose counter never moves", ENDLESS,
         {"p < k; p++)\n": "; p += 0)\n                if (p >= k) break; else\n"}),
        ("a variable that was never declared", COMPILES, {"float sum = 0;": "sum = 0;"}),
    ],
}  # fmt: skip

RIGHT = {
    "softmax": {
        "in double, with exp": """#include <math.h>
#include <string.h>
void softmax(float *y, const float *x, long rows, long n) {
    memset(y, 0, (size_t)(rows * n) * sizeof *y);
    for (long r = 0; r < rows; r++, x += n, y += n) {
        double peak = -INFINITY, sum = 0;
        for (long i = 0; i < n; i++) peak = fmax(peak, x[i]);
        if (isinf(peak)) continue;
        for (long i = 0; i < n; i++) sum += exp(x[i] - peak);
        for (long i = 0; i < n; i++) y[i] = (float)(exp(x[i] - peak) / sum);
    }
}
""",
        "in one pass, with a sum that is scaled when the maximum grows": """#include <math.h>
void softmax(float *y, const float *x, long rows, long n) {
    for (long r = 0; r < rows; ++r) {
        float m = -INFINITY, s = 0.0f;
        for (const float *p = x + r * n, *end = p + n; p != end; ++p) {
            if (*p > m) {
                s = s * expf(m - *p) + 1.0f;
                m = *p;
            } else if (*p > -INFINITY) {
                s += expf(*p - m);
            }
        }
        for (long i = r * n; i < (r + 1) * n; ++i)
            y[i] = s > 0.0f ? expf(x[i] - m) / s : 0.0f;
    }
}
""",
        "with functions of its own, from the last element to the first": """#include <float.h>
#include <math.h>
static float max_of(const float *x, long n) {
    float best = -INFINITY;
    while (n--) best = x[n] > best ? x[n] : best;
    return best;
}
static void row(float *y, const float *x, long n) {
    const float best = max_of(x, n);
    float total = 0;
    for (long i = n - 1; i >= 0; i--) {
        y[i] = best < -FLT_MAX ? 0.0f : expf(x[i] - best);
        total += y[i];
    }
    if (total == 0) return;
    for (long i = n - 1; i >= 0; i--) y[i] /= total;
}
void softmax(float *y, const float *x, long rows, long n) {
    for (long r = 0; r < rows; r++) row(&y[r * n], &x[r * n], n);
}
""",
    },
    "matmul": {
        "row by row of b, so that the innermost loop reads neighbours": """
void matmul(float *y, const float *a, const float *b, long m, long k, long n) {
    for (long i = 0; i < m * n; i++) y[i] = 0;
    for (long i = 0; i < m; i++)
        for (long p = 0; p < k; p++)
            for (long j = 0; j < n; j++) y[i * n + j] += a[i * k + p] * b[p * n + j];
}
""",
        "with a transposed copy of b, four sums at a time": """#include <stdlib.h>
void matmul(float *y, const float *a, const float *b, long m, long k, long n) {
    float *t = malloc((size_t)(k * n + 1) * sizeof *t);
    if (!t) return;
    for (long p = 0; p < k; p++)
        for (long j = 0; j < n; j++) t[j * k + p] = b[p * n + j];
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            const float *u = a + i * k, *v = t + j * k;
            float s[4] = {0, 0, 0, 0};
            long p = 0;
            for (; p + 4 <= k; p += 4)
                for (int q = 0; q < 4; q++) s[q] += u[p + q] * v[p + q];
            for (; p < k; p++) s[0] += u[p] * v[p];
            y[i * n + j] = (s[0] + s[1]) + (s[2] + s[3]);
        }
    free(t);
}
""",
        "in blocks of eight columns, in double": """
static long least(long a, long b) { return a < b ? a : b; }
void matmul(float *y, const float *a, const float *b, long m, long k, long n) {
    for (long first = 0; first < n; first += 8) {
        const long width = least(8, n - first);
        for (long i = 0; i < m; i++) {
            double sums[8] = {0};
            for (long p = 0; p < k; p++)
                for (long j = 0; j < width; j++) sums[j] += (double)a[i * k + p] * b[p * n + first + j];
            for (long j = 0; j < width; j++) y[i * n + first + j] = (float)sums[j];
        }
    }
}
""",
    },
}


def catalogue(op):
    """All wrong kernels that give an output, in one file -> (their sentences, the source).

    `tinyllm_which` chooses the one that stands behind the op's name.
    """
    signature = re.search(rf"void {op}\((.*?)\)", REFERENCES[op])[1]
    names = ", ".join(part.split()[-1].lstrip("*") for part in signature.split(","))
    chosen = [(said, changed(REFERENCES[op], how)) for said, by, how in CHANGES[op] if by not in NAMELESS]
    pieces = [f"#define {op} known_{i}\n{text}#undef {op}\n" for i, (_, text) in enumerate(chosen)]
    table = ", ".join(f"known_{i}" for i in range(len(chosen)))
    pieces.append(f"int tinyllm_which;\nvoid {op}({signature}) {{\n"
                  f"    static void (*const known[])({signature}) = {{{table}}};\n"
                  f"    known[tinyllm_which]({names});\n}}\n")  # fmt: skip
    return [said for said, _ in chosen], "".join(pieces)


def answers(task):
    """The answers to a task in C -> Answers."""
    wrong = tuple(Answer(said, changed(REFERENCES[task.op], how), by) for said, by, how in CHANGES[task.op])
    right = tuple(Answer(said, text) for said, text in RIGHT[task.op].items())
    return Answers("exercise.c", REFERENCES[task.op], right, wrong)


def changed(text, how):
    """A text with some of its parts replaced. Raises ValueError where it has no such part."""
    for old, new in how.items():
        if old not in text:
            raise ValueError(f"there is no {old!r} to change")
        text = text.replace(old, new)
    return text
