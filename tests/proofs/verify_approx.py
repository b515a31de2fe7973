"""Measure the errors of the kernels' functions on all 2**32 floats, at every level of this CPU.

    python tests/proofs/verify_approx.py [--quick] [exp log tanh silu gelu gelu_tanh rsqrt]

Prints the largest error in ulp, the distance between neighbouring floats at the exact result. --quick looks
at one float in 128. Exits with 1 if an error is larger than its bound in FUNCTIONS, or two levels have other
bits. The truth is double precision, which is off by some 1e-16, a billionth of an ulp here.
"""

import argparse
import math
import sys

import numpy as np

from tinyllm.ops.registry import _compiled

CHUNK = 1 << 16  # floats that are looked at together; there are as many chunks


def exact_gelu(x):
    """Return x erfc(-x / sqrt 2) / 2; by Python's erfc, which is slow, only where no limit is exact."""
    near_zero, large = np.abs(x) < 2.0**-26, ~(np.abs(x) < 40)
    y = np.where(near_zero, 0.5 * x + x * x * (2 * math.pi) ** -0.5, np.maximum(x, 0))
    middle = ~near_zero & ~large
    y[middle] = [0.5 * v * math.erfc(-v * math.sqrt(0.5)) for v in x[middle].tolist()]
    return y


def times_logistic(x, u):
    """Return x / (1 + exp(-u)), and its limit 0 for x = -inf."""
    return np.where(x == -np.inf, 0, x) / (1 + np.exp(-u))


def rsqrt(x):
    """Return 1 / sqrt(x * x) as the norms compute it: of rows with one number, and no eps."""
    return _compiled.rmsnorm(x[:, None], np.ones(1, np.float32), 0.0)[1]


FUNCTIONS = {  # name: the kernel, the exact value in float64 of a float32 x, the largest error in ulp
    "exp": (_compiled.exp, lambda x: np.exp(x.astype(float)), 1.02),
    "log": (_compiled.log, lambda x: np.log(x.astype(float)), 0.83),
    "tanh": (_compiled.tanh, lambda x: np.tanh(x.astype(float)), 1.34),
    "silu": (_compiled.silu, lambda x: times_logistic(x.astype(float), x.astype(float)), 3.4),
    "gelu": (_compiled.gelu, lambda x: exact_gelu(x.astype(float)), 6.1),
    "gelu_tanh": (
        _compiled.gelu_tanh,
        lambda x: times_logistic(
            x.astype(float), math.sqrt(8 / math.pi) * (x.astype(float) + 0.044715 * x.astype(float) ** 3)),
        214,
    ),
    "rsqrt": (rsqrt, lambda x: 1 / np.sqrt((x * x).astype(float)), 1.5),
} if _compiled else {}


def ulps(y, exact):
    """Return the errors of floats, in distances between neighbouring floats; infinite for a wrong limit."""
    rounded = exact.astype(np.float32)
    spacing = np.exp2(np.frexp(np.maximum(np.abs(exact), 2.0**-126))[1] - 24)
    error = np.abs(y - exact) / spacing
    error = np.where(np.isinf(y) | np.isinf(rounded), np.where(y == rounded, 0, np.inf), error)
    return np.where(np.isnan(y) | np.isnan(exact), np.where(np.isnan(y) & np.isnan(exact), 0, np.inf), error)


def largest_error(name, x):
    """Return the largest error of a function, in ulp, and the number where it is.

    Raises AssertionError if it has other bits at another level.
    """
    kernel, exact, _ = FUNCTIONS[name]
    found = {}
    for level in _compiled.levels():
        _compiled.use_level(level)
        y = kernel(x)
        found[np.where(np.isnan(y), np.float32(np.nan), y).tobytes()] = level
    _compiled.use_level(None)
    assert len(found) == 1, f"{name} has other bits at the levels {', '.join(found.values())}"
    with np.errstate(all="ignore"):
        errors = ulps(y, exact(x))
    return float(errors.max()), float(x[errors.argmax()])


def chunk(c):
    """Return the floats whose bits have c as their upper half."""
    return (np.arange(CHUNK, dtype=np.uint32) + np.uint32(c * CHUNK)).view(np.float32)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one float in 128")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(FUNCTIONS)}")
    args = parser.parse_args(argv)
    stride, figures, failed = 128 if args.quick else 1, [], 0
    for name in args.names or FUNCTIONS:
        # In a quick run one chunk for each exponent, each time another part of it.
        chunks = range(0, CHUNK, stride)
        worst, at = max(largest_error(name, chunk(c + 37 * i % stride)) for i, c in enumerate(chunks))
        good = worst <= FUNCTIONS[name][2]
        failed += not good
        figures.append(f"{name} {worst:.2f}")
        verdict = "good" if good else "FAILED"
        print(f"{name:9} at most {worst:.3f} ulp (at x = {at:.9g}): {verdict}", flush=True)
    floats = "one in 128 of the 2^32" if args.quick else "all 2^32"
    print(f"=> largest error over {floats} floats, in ulp: {'; '.join(figures)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
