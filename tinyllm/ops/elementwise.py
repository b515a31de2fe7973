"""Define ops that compute every number separately: activation functions, the residual sum, dropout.

`X_backward(dy, inputs...)` returns dy times the derivative of X.
"""

import math

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array, erf
from tinyllm.rng import MASK, Random

GELU_TANH = (2 / np.pi) ** 0.5, 0.044715


@op(flops=1)
def exp(x: Array) -> Array:
    """Raise e to the power of every number: x (...) -> (...)."""
    return np.exp(x)


@op(flops=1)
def log(x: Array) -> Array:
    """Take the natural logarithm of every number: x (...) -> (...). It is -inf at 0 and NaN below."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(x)


@op(flops=1)
def tanh(x: Array) -> Array:
    """Take the hyperbolic tangent of every number: x (...) -> (...)."""
    return np.tanh(x)


@op(flops=4)
def sigmoid(x: Array) -> Array:
    """Map every number into 0..1: y = 1 / (1 + exp(-x)).

    x (...) -> (...). exp is only applied to numbers of at most zero, so it cannot overflow.
    """
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def softplus(x: Array) -> Array:
    """Compute log(1 + exp(x)), which is -log sigmoid(-x), without overflow: x (...) -> (...)."""
    e = exp(-np.abs(x))
    near = 1 + e
    return np.maximum(x, 0) + (log(near) + (e - (near - 1)) / near)  # the quotient: how `near` was rounded


def expm1(x: Array) -> Array:
    """Compute exp(x) - 1 with all digits, also near 0: (e - 1) x / log(e) with e = exp(x) (Kahan)."""
    e = exp(x)
    small = (e != 1) & (np.abs(x) < 1)
    return np.where(e == 1, x, (e - 1) * np.where(small, x / log(np.where(small, e, 2)), 1))


def bounded(x: Array) -> Array:
    """Limit x to [-40, 40]. Outside, gelu is exactly 0 or x; inside, x * x * x cannot overflow."""
    return np.clip(x, -40, 40)


@op(flops=5)
def gelu(x: Array) -> Array:
    """Multiply x by the probability that a standard normal number is below x: x (1 + erf(x / sqrt 2)) / 2.

    x (...) -> (...). (Hendrycks and Gimpel 2016, exact form.)
    """
    return 0.5 * x * (1 + erf(x * 0.5**0.5))


@op(shapes="dy (...), x (...)")
def gelu_backward(dy: Array, x: Array) -> Array:
    """Compute dx = dy (Phi(x) + x phi(x)), for the normal distribution Phi and its density phi: all (...)."""
    z = bounded(x)
    density = np.exp(-0.5 * z * z) * (2 * np.pi) ** -0.5
    return dy * (0.5 * (1 + erf(x * 0.5**0.5)) + z * density)


@op(flops=9)
def gelu_tanh(x: Array) -> Array:
    """Approximate gelu by a tanh: y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, as in GPT-2.

    x (...) -> (...). (Hendrycks and Gimpel 2016, section 2.)
    """
    scale, cubic = GELU_TANH
    z = bounded(x)
    return 0.5 * x * (1 + np.tanh(scale * (z + cubic * z * z * z)))


@op(shapes="dy (...), x (...)")
def gelu_tanh_backward(dy: Array, x: Array) -> Array:
    """Compute dx = dy (1 + t + x (1 - t^2) u') / 2, t = tanh(u), u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    scale, cubic = GELU_TANH
    z = bounded(x)
    t = np.tanh(scale * (z + cubic * z * z * z))
    slope = scale * (1 + 3 * cubic * z * z)
    return dy * 0.5 * (1 + t + z * (1 - t * t) * slope)


@op(flops=4)
def silu(x: Array) -> Array:
    """Multiply x by sigmoid(x): y = x / (1 + exp(-x)).

    x (...) -> (...). (Ramachandran, Zoph and Le 2017, "swish".)
    """
    return x * sigmoid(x)


@op(shapes="dy (...), x (...)")
def silu_backward(dy: Array, x: Array) -> Array:
    """Compute dx = dy s (1 + x (1 - s)), where s = sigmoid(x): dy, x (...) -> (...)."""
    s = sigmoid(x)
    return dy * s * (1 + x * (1 - s))


@op(grads=("gate", "up"), shapes="gate (...), up (...)", flops=5)
def swiglu(gate: Array, up: Array) -> Array:
    """Multiply `up` by silu of `gate`, the two halves of a layer: y = silu(gate) up.

    gate, up (...) of one shape -> (...). Raises ValueError when the shapes differ. (Shazeer 2020.)
    """
    return silu(gate) * up


@op(shapes="dy (...), gate (...), up (...)")
def swiglu_backward(dy: Array, gate: Array, up: Array) -> tuple[Array, Array]:
    """Compute dgate = dy up silu'(gate) and dup = dy silu(gate): dy, gate, up (...) -> dgate, dup (...)."""
    return silu_backward(dy * up, gate), dy * silu(gate)


@op(shapes="x (...), y (...)", flops=1)
def add(x: Array, y: Array) -> Array:
    """Add two arrays of one shape, for example to the residual stream.

    x, y (...) -> (...). Raises ValueError when the shapes differ.
    """
    return x + y


def keep_mask(key: tuple[int, int], shape: tuple[int, ...], p: float) -> Array:
    """Draw the mask of dropout from a key: a boolean array of `shape`, False with probability p.

    Each element uses sixteen random bits, so p is rounded to a multiple of 1/65536.
    """
    n = math.prod(shape)
    words = Random.at(*key).bits(-(-n // 4)).astype("<u8", copy=False)  # "<": the same on any byte order
    return (words.view("<u2")[:n] >= round(float(p) * 65536)).reshape(shape)


def check_dropout(x: Array, key: tuple[int, int], p: float) -> None:
    """Raise ValueError unless the key is a pair of integers below 2**64, and 0 <= p < 1."""
    pair = isinstance(key, tuple) and len(key) == 2
    if not pair or not all(isinstance(k, int) and 0 <= k <= MASK for k in key):
        raise ValueError(f"needs a key of two whole numbers from 0 to 2**64 - 1, got {key!r}")
    if not 0 <= p < 1:
        raise ValueError(f"needs 0 <= p < 1, got {p}")


@op(check=check_dropout)
def dropout(x: Array, key: tuple[int, int], p: float) -> Array:
    """Set numbers to 0 with probability p and multiply the others by 1 / (1 - p), to keep the mean.

    x (...), key a pair of integers, p the probability of dropping -> (...). The key is a stream of random
    words and a position in it (`Random.reserve`), so no mask is stored: the backward pass draws it again.
    Raises ValueError unless 0 <= p < 1. (Srivastava et al. 2014, in the usual "inverted" form; Salmon et al.
    2011, "Parallel random numbers: as easy as 1, 2, 3", on generators whose whole state is a counter.)
    """
    return x * keep_mask(key, x.shape, p) / (1 - float(p))


@op(check=check_dropout)
def dropout_backward(dy: Array, key: tuple[int, int], p: float) -> Array:
    """Compute dx = dy keep / (1 - p), where `keep` is drawn again from the key: dy (...) -> dx (...)."""
    return dropout(dy, key, p)
