"""Mistakes in softmax and log_softmax."""

import numpy as np

from tinyllm.ops import log_softmax, softmax
from tinyllm.testing.mistake import mistake
from tinyllm.testing.properties import EXTREME, FORM, INFINITE


@mistake("softmax", "softmax that gives NaN for a row of nothing but -inf, where every token is masked",
         breaks=INFINITE)  # fmt: skip
def masked_row_is_nan(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True, initial=-np.inf))
    return e / e.sum(axis=-1, keepdims=True)


@mistake("softmax", "softmax without subtracting the maximum, so that exp overflows", breaks=EXTREME)
def without_maximum(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


@mistake("softmax", "softmax along the first axis")
def along_the_first_axis(x):
    e = np.exp(x - x.max(axis=0, keepdims=True))
    return e / e.sum(axis=0, keepdims=True)


@mistake("softmax", "softmax over the whole array, not row by row")
def over_the_whole_array(x):
    e = np.exp(x - x.max())
    return e / e.sum()


@mistake("softmax", "exponentials divided by the sum of the whole array, not of their row")
def sum_of_the_whole_array(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum()


@mistake("softmax", "softmax that subtracts the maximum of the whole array, so that low rows vanish",
         breaks=EXTREME)  # fmt: skip
def maximum_of_the_whole_array(x):
    e = np.exp(x - x.max())
    return e / e.sum(axis=-1, keepdims=True)


@mistake("softmax", "x divided by its sum, without exp")
def without_exp(x):
    return x / x.sum(axis=-1, keepdims=True)


@mistake("softmax", "softmax computed in float64 and left there", breaks=FORM)
def wrong_dtype(x):
    return softmax(x.astype(np.float64))


@mistake("softmax_backward", "y dy, without the sum over the row")
def forgets_the_sum(dy, y):
    return y * dy


@mistake("softmax_backward", "y (1 - y) dy, only the diagonal of the Jacobian")
def only_the_diagonal(dy, y):
    return y * (1 - y) * dy


@mistake("softmax_backward", "y (dy - sum dy): the sum must be weighted by y")
def unweighted_sum(dy, y):
    return y * (dy - dy.sum(axis=-1, keepdims=True))


@mistake("softmax_backward", "y (dy - mean(dy y)): a mean where the sum belongs")
def mean_for_sum(dy, y):
    return y * (dy - (dy * y).mean(axis=-1, keepdims=True))


@mistake("softmax_backward", "y (dy + sum(dy y)), with the wrong sign")
def wrong_sign(dy, y):
    return y * (dy + (dy * y).sum(axis=-1, keepdims=True))


@mistake("log_softmax", "log_softmax that gives NaN for a row of nothing but -inf", breaks=INFINITE)
def log_masked_row_is_nan(x):
    z = x - x.max(axis=-1, keepdims=True, initial=-np.inf)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


@mistake("log_softmax", "the logarithm of softmax, which is -inf where a probability rounds to 0",
         breaks=EXTREME)  # fmt: skip
def log_of_softmax(x):
    return np.log(softmax(x))


@mistake("log_softmax", "log_softmax without subtracting the maximum, so that exp overflows", breaks=EXTREME)
def log_without_maximum(x):
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


@mistake("log_softmax", "log_softmax along the first axis")
def log_along_the_first_axis(x):
    z = x - x.max(axis=0, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=0, keepdims=True))


@mistake("log_softmax", "log_softmax that subtracts the maximum inside exp but does not add it back")
def forgets_the_maximum(x):
    return x - np.log(np.exp(x - x.max(axis=-1, keepdims=True)).sum(axis=-1, keepdims=True))


@mistake("log_softmax_backward", "dy - y sum(dy): y is a logarithm, exp(y) is the probability")
def forgets_exp(dy, y):
    return dy - y * dy.sum(axis=-1, keepdims=True)


@mistake("log_softmax_backward", "dy alone, without the sum over the row")
def log_forgets_the_sum(dy, y):
    return dy.copy()


@mistake("log_softmax_backward", "the gradient of softmax, not of its logarithm")
def gradient_of_softmax(dy, y):
    p = np.exp(y)
    return p * (dy - (dy * p).sum(axis=-1, keepdims=True))


@mistake("log_softmax_backward", "dy - exp(y) mean(dy): a mean where the sum belongs")
def log_mean_for_sum(dy, y):
    return dy - np.exp(y) * dy.mean(axis=-1, keepdims=True)


@mistake("softmax", "softmin: exp(-x), so that the smallest score wins")
def smallest_wins(x):
    return softmax(-x)


@mistake("softmax_backward", "dy - y, the gradient of cross-entropy, not of softmax")
def as_cross_entropy(dy, y):
    return dy - y


@mistake("softmax_backward", "y dy minus the row's sum of it, without the factor y on the sum")
def factor_outside(dy, y):
    return y * dy - (y * dy).sum(axis=-1, keepdims=True)


@mistake("softmax_backward", "the whole row's sum taken over the batch as well")
def sum_over_everything(dy, y):
    return y * (dy - (dy * y).sum())


@mistake("log_softmax", "the logarithm to base 2")
def base_two(x):
    return log_softmax(x) / x.dtype.type(np.log(2))


@mistake("log_softmax", "x minus the log of the sum of x, without exp")
def log_of_the_sum(x):
    return x - np.log(np.abs(x.sum(axis=-1, keepdims=True)))


@mistake("log_softmax", "x minus the maximum, and nothing more")
def only_the_maximum(x):
    return x - x.max(axis=-1, keepdims=True, initial=-np.inf)
