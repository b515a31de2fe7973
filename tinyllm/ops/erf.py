"""The error function, which NumPy lacks, to the last digits of float64.

Rational approximations and their coefficients from W. J. Cody, "Rational Chebyshev Approximations for the
Error Function", Mathematics of Computation 23 (1969), in the form of his program CALERF (netlib,
specfun/erf).
"""

from typing import Any

import numpy as np

from tinyllm.ops.shapes import Array

SMALL = (
    (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
     3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
     1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
     3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
)
LARGE = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
     1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
     2.33520497626869185e-3),
)


def ratio(coefficients: tuple, x: Array) -> Any:
    """One polynomial divided by another, both from the highest power down (Horner's rule)."""
    numerator, denominator = (float(c[0]) for c in coefficients)
    for n in coefficients[0][1:]:
        numerator = numerator * x + n
    for d in coefficients[1][1:]:
        denominator = denominator * x + d
    return numerator / denominator


def erf_small(a: Array) -> Array:
    """Evaluate erf for a below about 0.47."""
    return a * ratio(SMALL, a * a)


def erf_middle(a: Array) -> Array:
    """Evaluate erf for a between about 0.47 and 4."""
    return 1 - np.exp(-a * a) * ratio(MIDDLE, a)


def erf_large(a: Array) -> Array:
    """Evaluate erf for a above 4."""
    z = 1 / (a * a)
    return 1 - np.exp(-a * a) / a * (np.pi**-0.5 - z * ratio(LARGE, z))


def erf(x: Array) -> Array:
    """The error function 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.

    x (...) -> (...) in [-1, 1], odd and rising.
    """
    a = np.minimum(np.abs(x), 6)  # erf(6) is 1 to the last bit
    ranges = [a <= 0.46875, (a > 0.46875) & (a <= 4), a > 4]
    return np.copysign(np.piecewise(a, ranges, [erf_small, erf_middle, erf_large, np.nan]), x)
