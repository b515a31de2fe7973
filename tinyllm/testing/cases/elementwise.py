"""Cases of the ops that treat every number alone."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import floats, leading, sizes
from tinyllm.testing.bounds import EPS, TINY, ulps

KEYS = (0, 1, 2**64 - 1, 0x0123456789ABCDEF)
shapes = st.one_of(st.tuples(leading, sizes).map(lambda s: (*s[0], s[1])), st.just(()))


@st.composite
def arrays(draw, count):
    """Some arrays of one shape."""
    shape = draw(shapes)
    return tuple(floats(draw, shape) for _ in range(count))


@st.composite
def dropout(draw):
    """An array, a stream and a place in it, the largest ones too, and the probability of dropping."""
    key = draw(st.sampled_from(KEYS)), draw(st.sampled_from((0, 1, 7, 2**64 - 3)))
    return floats(draw, draw(shapes)), key, draw(st.sampled_from((0.5, 0.1, 0.0, 0.9, 0.999999)))


def activation(args, results):
    """1 + erf, 1 + tanh and 1 - sigmoid cancel far from 0: the error is a few roundings of x."""
    return (8 * EPS * np.abs(args[0]) + TINY,)


def activation_backward(args, results):
    """The derivative is about 1 at most, but is found from terms as large as x."""
    dy, x = args
    return (16 * EPS * np.abs(dy) * (1 + np.abs(x)) + TINY,)


def swiglu(args, results):
    """silu's error, on the scale of gate, times up."""
    gate, up = args
    return (8 * EPS * np.abs(gate * up) + TINY,)


def swiglu_backward(args, results):
    """The errors of silu's derivative and of silu, each times the other factors."""
    dy, gate, up = args
    return (16 * EPS * np.abs(dy * up) * (1 + np.abs(gate)) + TINY, 8 * EPS * np.abs(dy * gate) + TINY)


ACTIVATIONS = ("gelu", "gelu_tanh", "silu")
CASES = {
    **dict.fromkeys(ACTIVATIONS, arrays(1)),
    "sigmoid": arrays(1),
    "swiglu": arrays(2),
    "add": arrays(2),
    "dropout": dropout(),
}
BOUNDS = {
    **dict.fromkeys(ACTIVATIONS, activation),
    **dict.fromkeys([f"{name}_backward" for name in ACTIVATIONS], activation_backward),
    "sigmoid": ulps(8),
    "swiglu": swiglu,
    "swiglu_backward": swiglu_backward,
    "add": ulps(1),
    "dropout": ulps(4),
    "dropout_backward": ulps(4),
}
