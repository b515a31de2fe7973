"""Fits the polynomials of csrc/approx.h and prints them as C: `python tools/fit_approx.py`.

Each fit minimises the largest relative error over its interval (Lawson's algorithm: least squares again and
again, with more weight where the error was large; C. L. Lawson, 1961). Coefficients must be float32 in the
end, and rounding them all at once would cost accuracy, so they are rounded one at a time, lowest power
first, and the higher ones are fitted anew after each. Needs NumPy only.
"""

import math

import numpy as np

POINTS = 1000  # where the error is looked at
ROUNDS = 300  # of reweighting


def grid(low, high):
    """Chebyshev points from low to high: denser towards the ends, where a minimax error peaks."""
    angles = np.pi * (np.arange(POINTS) + 0.5) / POINTS
    return low + (high - low) * (1 - np.cos(angles)) / 2


def lawson(basis, target):
    """The c that makes max |basis @ c - target| as small as it gets: points (n, k), (n,) -> (k,), error."""
    weight = np.full(len(target), 1 / len(target))
    best, least = None, np.inf
    for _ in range(ROUNDS):
        root = np.sqrt(weight)
        c = np.linalg.lstsq(basis * root[:, None], target * root, rcond=None)[0]
        error = np.abs(basis @ c - target)
        if error.max() < least:
            best, least = c, error.max()
        if error.max() == 0:
            break
        weight = weight * error
        weight /= weight.sum()
    return best, least


def fit(name, u, wanted, scale, degree):
    """Print float32 c with sum_k c[k] * u**k close to `wanted`, an error of `scale` counting as 1.

    `scale` is how large an error of the polynomial makes a relative error of 1 in the function.
    """
    powers = u[:, None] ** np.arange(degree + 1)
    fixed = []
    for k in range(degree + 1):
        rest = wanted - powers[:, :k] @ np.array(fixed)
        c, ideal = lawson(powers[:, k:] / scale[:, None], rest / scale)
        if k == 0:
            best = ideal
        fixed.append(float(np.float32(c[0])))
    error = np.abs((powers @ np.array(fixed) - wanted) / scale).max()
    digits = ", ".join(f"{c:.9g}f" for c in fixed)  # nine digits name a float32 exactly
    print(f"/* largest relative error {error:.1e}, before the coefficients were rounded {best:.1e} */")
    print(f"static const float {name}[] = {{{digits}}};")


def fit_ratio(name, t, wanted, above, below):
    """Print float32 coefficients of p(t) / q(t) close to `wanted`, in relative error; q[0] is 1.

    p - wanted * q is linear in the coefficients; the error is that over wanted * q, with q of the round
    before.
    """
    p, q = t[:, None] ** np.arange(above + 1), t[:, None] ** np.arange(1, below + 1)
    basis, fixed, divisor = np.hstack([p / wanted[:, None], -q]), [], np.ones_like(t)
    for k in range(basis.shape[1]):
        for _ in range(5):
            rest = (1 - basis[:, :k] @ np.array(fixed)) / divisor
            c, _ = lawson(basis[:, k:] / divisor[:, None], rest)
            divisor = 1 + q @ np.array([*fixed, *c])[above + 1:]
        fixed.append(float(np.float32(c[0])))
    error = np.abs(p @ np.array(fixed[:above + 1]) / (1 + q @ np.array(fixed[above + 1:])) / wanted - 1).max()
    print(f"/* largest relative error {error:.1e} */")
    digits = [f"{c:.9g}f" for c in fixed]
    print(f"static const float {name}_p[] = {{{', '.join(digits[: above + 1])}}};")
    print(f"static const float {name}_q[] = {{1.0f, {', '.join(digits[above + 1 :])}}};")


def exp():
    """exp(r) = 1 + (r + r**2 * q(r)) for |r| <= ln 2 / 2."""
    r = grid(-0.3467, 0.3467)
    fit("exp_q", r, (np.expm1(r) - r) / r**2, np.exp(r) / r**2, 4)


def tanh():
    """tanh(x) = x + x**3 * q(x**2) for |x| <= 0.6."""
    x = grid(1e-2, 0.6)
    fit("tanh_q", x**2, (np.tanh(x) - x) / x**3, np.tanh(x) / x**3, 4)


def log():
    """log(1 + r) = r - r**2 / 2 + r**3 * q(r) for sqrt(1/2) <= 1 + r < sqrt(2)."""
    r = grid(2**-0.5 - 1, 2**0.5 - 1)
    fit("log_q", r, (np.log1p(r) - r + r**2 / 2) / r**3, np.abs(np.log1p(r) / r**3), 8)


def tail():
    """P(X > t) = exp(-t**2 / 2) * p(t) / q(t) for a standard normal X, 0 <= t <= 14.5."""
    t = grid(0, 14.5)
    fit_ratio("tail", t, np.array([math.erfc(v / 2**0.5) / 2 * math.exp(v * v / 2) for v in t]), 4, 5)


if __name__ == "__main__":
    for each in (exp, tanh, log, tail):
        each()
