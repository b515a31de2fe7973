"""Provide test cases, common mistakes and correct variants for the elementwise ops."""

import math

import numpy as np
from hypothesis import strategies as st

from tinyllm.ops import sigmoid, silu
from tinyllm.testing.arrays import CASES, MODEST, USUAL, leading, sizes
from tinyllm.testing.bounds import BOUNDS, of_terms, ulps
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.properties import EXTREME, FORM, PURE
from tinyllm.testing.relations import declared_cases

ACTIVATIONS = ("gelu", "gelu_tanh", "silu")
KEYS = (0, 1, 2**64 - 1, 0x0123456789ABCDEF), (0, 1, 7, 2**64 - 3)  # a seed, and a counter
shapes = {"...": st.one_of(st.tuples(leading, sizes).map(lambda s: (*s[0], s[1])), st.just(()))}

CASES |= {name: declared_cases(name, shapes, x=(*USUAL, "huge")) for name in (
    *ACTIVATIONS, "log", "tanh", "sigmoid")}
CASES |= {name: declared_cases(name, shapes) for name in ("swiglu", "add")}
CASES["exp"] = declared_cases("exp", shapes, x=MODEST)  # its results do not overflow in float32
CASES["dropout"] = declared_cases("dropout", shapes, p=st.sampled_from((0.5, 0.1, 0.0, 0.9, 0.999999)),
                                  key=st.tuples(*map(st.sampled_from, KEYS)))
BOUNDS |= dict.fromkeys(("exp", "log", "tanh", "sigmoid"), ulps(8))
BOUNDS |= {
    # 1 + erf and 1 - sigmoid lose digits, and slopes have terms as large as x.
    **dict.fromkeys(ACTIVATIONS, of_terms(lambda _, x: 8 * np.abs(x))),
    **dict.fromkeys((f"{name}_backward" for name in ACTIVATIONS),
                    of_terms(lambda _, dy, x: 16 * np.abs(dy) * (1 + np.abs(x)))),
    "swiglu": of_terms(lambda _, gate, up: 8 * np.abs(gate * up)),
    "swiglu_backward": of_terms(lambda _, dy, gate, up: (
        16 * np.abs(dy * up) * (1 + np.abs(gate)), 8 * np.abs(dy * gate))),
    "add": ulps(1), "dropout": ulps(4), "dropout_backward": ulps(4),
}

CUBIC = "scale * (z + cubic * z * z * z)"
GELU_TANH = f"0.5 * x * (1 + np.tanh({CUBIC}))"

mistake("gelu_tanh", "x multiplied by tanh alone: a half of 1 + tanh belongs there", GELU_TANH,
        "x * np.tanh(scale * (z + cubic * z * z * z))")
mistake("gelu_tanh", "x (1 + tanh) halved last, which overflows for the largest x", GELU_TANH,
        "x * (1 + np.tanh(scale * (z + cubic * z * z * z))) / 2", breaks=EXTREME)
mistake("gelu_tanh", "x squared inside tanh, where the cube belongs", "cubic * z * z * z", "cubic * z * z")
mistake("gelu_tanh", "tanh made of exp(2 z), which overflows into NaN", f"np.tanh({CUBIC})",
        f"(np.exp(2 * {CUBIC}) - 1) / (np.exp(2 * {CUBIC}) + 1)", breaks=EXTREME)
mistake("silu_backward", "dy silu(x): the function itself, where its slope belongs",
        "dy * s * (1 + x * (1 - s))", "dy * silu(x)")
mistake("sigmoid", "exp(x) / (1 + exp(x)), which overflows into NaN",
        "", "return np.exp(x) / (1 + np.exp(x))", breaks=EXTREME)
mistake("swiglu", "silu(gate up): only the gate goes through silu", "silu(gate) * up", "silu(gate * up)")
mistake("swiglu_backward", "dgate with sigmoid(gate) for the derivative of silu",
        "silu_backward(dy * up, gate)", "dy * up * sigmoid(gate)")
mistake("swiglu_backward", "dup with the derivative of silu, where silu itself belongs",
        "dy * silu(gate)", "silu_backward(dy, gate)")
mistake("swiglu_backward", "dgate with the derivative of sigmoid for that of silu",
        "silu_backward(dy * up, gate)", "dy * up * sigmoid(gate) * (1 - sigmoid(gate))")
mistake("add", "x changed in place", "return x + y", "x += y\nreturn x", breaks=PURE)
mistake("add", "the sum computed in float64 and left there", "x + y", "x.astype(np.float64) + y", breaks=FORM)
mistake("add", "every sum of an x and a y, a table of them", "x + y", "np.add.outer(x, y)")


variant("swiglu")(lambda gate, up: gate * (0.5 * (1 + np.tanh(0.5 * gate))) * up)
variant("gelu_tanh")(lambda x: x * sigmoid(math.sqrt(8 / math.pi) * (x + 0.044715 * x**3)))
variant("silu_backward")(lambda dy, x: dy * (sigmoid(x) + silu(x) * (1 - sigmoid(x))))
variant("add")(lambda x, y: np.sum([x, y], axis=0))


@variant("swiglu_backward")
def swiglu_backward_in_full(dy, gate, up):
    e = np.exp(-np.abs(gate))
    s = np.where(gate >= 0, 1, e) / (1 + e)
    return dy * up * (s + gate * s * (1 - s)), dy * gate * s
