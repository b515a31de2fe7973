"""Mistakes in layernorm and rmsnorm."""

from tinyllm.ops import (
    layernorm,
    layernorm_backward,
    rmsnorm,
    rmsnorm_backward,
)
from tinyllm.ops.shapes import rows
from tinyllm.testing.mistake import mistake
from tinyllm.testing.properties import EXTREME


def moments(x, axis=-1):
    """Mean and variance along an axis, which is kept."""
    return x.mean(axis=axis, keepdims=True), x.var(axis=axis, keepdims=True)


def normalise(x, w, b, mean, rstd):
    """The rest of layernorm, given mean and 1 / deviation."""
    return (x - mean) * rstd * w + b, mean[..., 0], rstd[..., 0]


@mistake("layernorm", "1 / (deviation + eps), with eps outside the square root")
def eps_outside(x, w, b, eps=1e-5):
    mean, variance = moments(x)
    return normalise(x, w, b, mean, 1 / (variance**0.5 + eps))


@mistake("layernorm", "the variance divided by C - 1, not by C")
def sample_variance(x, w, b, eps=1e-5):
    C = x.shape[-1]
    mean, variance = moments(x)
    return normalise(x, w, b, mean, (variance * C / max(C - 1, 1) + eps) ** -0.5)


@mistake("layernorm", "the variance as mean(x^2) - mean(x)^2, which cancels when the mean is large",
         breaks=EXTREME)  # fmt: skip
def cancelling_variance(x, w, b, eps=1e-5):
    mean = x.mean(axis=-1, keepdims=True)
    return normalise(x, w, b, mean, ((x * x).mean(axis=-1, keepdims=True) - mean * mean + eps) ** -0.5)


@mistake("layernorm", "division by the variance, without the square root")
def without_root(x, w, b, eps=1e-5):
    mean, variance = moments(x)
    return normalise(x, w, b, mean, 1 / (variance + eps))


@mistake("layernorm", "no eps, so that a constant row divides by zero")
def without_eps(x, w, b, eps=1e-5):
    mean, variance = moments(x)
    return normalise(x, w, b, mean, variance**-0.5)


@mistake("layernorm", "mean and variance along the first axis")
def along_the_first_axis(x, w, b, eps=1e-5):
    mean, variance = moments(x, axis=0)
    return normalise(x, w, b, mean, (variance + eps) ** -0.5)


@mistake("layernorm", "normalised rows without the learnt weight and bias")
def without_weights(x, w, b, eps=1e-5):
    return layernorm(x, w * 0 + 1, b * 0, eps)


@mistake("layernorm", "the deviation returned where 1 / deviation was asked for")
def returns_deviation(x, w, b, eps=1e-5):
    y, mean, rstd = layernorm(x, w, b, eps)
    return y, mean, 1 / rstd


@mistake("layernorm_backward", "a gradient that takes mean and rstd for constants")
def constant_statistics(dy, x, w, mean, rstd):
    return dy * w * rstd[..., None], *layernorm_backward(dy, x, w, mean, rstd)[1:]


def assemble(dy, x, w, mean, rstd, terms):
    """dx = rstd (dn - terms(dn, n)), with dw and db as they should be."""
    n, dn = (x - mean[..., None]) * rstd[..., None], dy * w
    return (dn - terms(dn, n)) * rstd[..., None], rows(dy * n).sum(axis=0), rows(dy).sum(axis=0)


@mistake("layernorm_backward", "a gradient that forgets mean(dn), the way through the mean")
def forgets_the_mean(dy, x, w, mean, rstd):
    return assemble(dy, x, w, mean, rstd, lambda dn, n: n * (dn * n).mean(axis=-1, keepdims=True))


@mistake("layernorm_backward", "a gradient that forgets n mean(dn n), the way through the variance")
def forgets_the_variance(dy, x, w, mean, rstd):
    return assemble(dy, x, w, mean, rstd, lambda dn, n: dn.mean(axis=-1, keepdims=True))


@mistake("layernorm_backward", "sums over the channels where means belong")
def sums_for_means(dy, x, w, mean, rstd):
    return assemble(dy, x, w, mean, rstd, lambda dn, n: dn.sum(axis=-1, keepdims=True)
                    + n * (dn * n).sum(axis=-1, keepdims=True))


@mistake("layernorm_backward", "dx that forgets the weight w")
def dx_without_weight(dy, x, w, mean, rstd):
    return layernorm_backward(dy, x, w * 0 + 1, mean, rstd)


@mistake("layernorm_backward", "dw = sum(dy x), with x not normalised")
def dw_of_raw_x(dy, x, w, mean, rstd):
    dx, _, db = layernorm_backward(dy, x, w, mean, rstd)
    return dx, rows(dy * x).sum(axis=0), db


@mistake("layernorm_backward", "dw and db averaged over the rows, not summed")
def averages_rows(dy, x, w, mean, rstd):
    dx, dw, db = layernorm_backward(dy, x, w, mean, rstd)
    count = max(len(rows(x)), 1)
    return dx, dw / count, db / count


@mistake("rmsnorm", "the mean subtracted, as layernorm does")
def subtracts_the_mean(x, w, eps=1e-5):
    return rmsnorm(x - x.mean(axis=-1, keepdims=True), w, eps)


@mistake("rmsnorm", "1 / (root mean square + eps), with eps outside the square root")
def rms_eps_outside(x, w, eps=1e-5):
    rstd = 1 / ((x * x).mean(axis=-1, keepdims=True) ** 0.5 + eps)
    return x * rstd * w, rstd[..., 0]


@mistake("rmsnorm", "the sum of squares where their mean belongs")
def sum_for_mean(x, w, eps=1e-5):
    rstd = ((x * x).sum(axis=-1, keepdims=True) + eps) ** -0.5
    return x * rstd * w, rstd[..., 0]


@mistake("rmsnorm", "normalised rows without the learnt weight")
def rms_without_weight(x, w, eps=1e-5):
    return rmsnorm(x, w * 0 + 1, eps)


@mistake("rmsnorm", "weights taken as 1 + w, as Gemma stores them")
def one_plus_weight(x, w, eps=1e-5):
    return rmsnorm(x, 1 + w, eps)


@mistake("rmsnorm_backward", "a gradient that takes rstd for a constant")
def constant_rstd(dy, x, w, rstd):
    return dy * w * rstd[..., None], rmsnorm_backward(dy, x, w, rstd)[1]


@mistake("rmsnorm_backward", "dx that forgets the weight w")
def rms_dx_without_weight(dy, x, w, rstd):
    return rmsnorm_backward(dy, x, w * 0 + 1, rstd)


@mistake("rmsnorm_backward", "a sum over the channels where the mean belongs")
def rms_sum_for_mean(dy, x, w, rstd):
    n, dn = x * rstd[..., None], dy * w
    return (dn - n * (dn * n).sum(axis=-1, keepdims=True)) * rstd[..., None], rows(dy * n).sum(axis=0)


@mistake("rmsnorm_backward", "dw = sum(dy x), with x not normalised")
def rms_dw_of_raw_x(dy, x, w, rstd):
    return rmsnorm_backward(dy, x, w, rstd)[0], rows(dy * x).sum(axis=0)


@mistake("rmsnorm", "division by the mean square, without the square root")
def divides_by_the_square(x, w, eps=1e-5):
    rstd = 1 / ((x**2).mean(axis=-1, keepdims=True) + x.dtype.type(eps))
    return x * rstd * w, rstd[..., 0]


@mistake("rmsnorm", "the root mean square returned where 1 / root mean square was asked for")
def returns_the_root(x, w, eps=1e-5):
    y, rstd = rmsnorm(x, w, eps)
    return y, 1 / rstd


@mistake("rmsnorm", "no eps, so that a row of zeros divides by zero")
def rmsnorm_without_eps(x, w, eps=1e-5):
    return rmsnorm(x, w, 0.0)
