"""Compare every implementation of every op with its specification.

The specification itself is tried in float32, and the kernel if it is built. test_ops_twins.py tries wrong
arguments, and test_bits.py compares bits.
"""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tinyllm import Random, ops
from tinyllm.ops import OPS, registry, round_bf16
from tinyllm.testing import CASES, check
from tinyllm.testing.catalog import BOUNDS
from tinyllm.testing.check import bits, widen
from tinyllm.testing.relations import parameters, specs_only

WAYS = [(name, backend) for name, o in OPS.items() for backend in o.implementations if backend != "bf16"]
PACKAGE = Path(__file__).parents[2] / "tinyllm"
FUNCTIONS = PACKAGE / "functional.py"  # its functions count as users only if they have users


def test_every_op_has_a_user():
    """A user is code of a lesson or of the library that names the op, or a function or op that has a user.

    round_bf16 needs none: matmul calls it in bf16 if no kernels are built.
    """
    files = [path for folder in ("nn", "models", "train", "tokenizer", "data", "align", "compress", "eval",
                            "parallel", "../lessons")
             for path in (PACKAGE / folder).rglob("*.*") if path.suffix in (".py", ".toml", ".c")]
    text = "".join(path.read_text() for path in [*files, *({*PACKAGE.glob("*.py")} - {FUNCTIONS})])
    text = re.sub(r"(?m)^\s*(#|//).*$", "", text)  # comments and prose of lessons do not count
    beginnings = tuple(re.findall(r'f"(\w+_)\w*\{', text))
    used = {*re.findall(r"\w+", text), *(name for name in OPS if name.startswith(beginnings)), "round_bf16"}
    for function in reversed(ast.parse(FUNCTIONS.read_text()).body):  # later functions call earlier ones
        if getattr(function, "name", "") in used:
            used |= {getattr(node, "attr", "") for node in ast.walk(function)}
    for _ in range(3):
        used |= {called.__name__ for name in used & OPS.keys() for called in OPS[name].calls}
        used |= {name for name in OPS if name.removesuffix("_backward") in used}
    assert not OPS.keys() - used, "delete ops without a user"


@pytest.mark.parametrize("name, backend", WAYS)
@given(data=st.data())
def test_agrees_with_the_specification(name, backend, data):
    check(name, OPS[name].checked(backend), data.draw(CASES[name]))


def test_arrays_longer_than_a_piece_of_a_kernel_agree():
    x = Random("long").normal(5000)
    for name, args in {"gelu": (x,), "dropout": (x, (3, 5), 0.3)}.items():
        for backend in OPS[name].implementations:
            check(name, OPS[name].checked(backend), args)


# Ops that drop or refuse NaN: those that rank numbers, round weights, or need confidences.
RANKS_NAN = ("top_k", "top_p", "min_p", "sample", "speculative_accept", "quantize_int8", "quantize_int4",
             "auroc", "exposure", "brier_score", "expected_calibration_error")


def is_float32(value):
    return isinstance(value, np.ndarray) and value.dtype == np.float32


def poisonable(name, args):
    """Return the positions of the arguments that may hold NaN; in attention, not masked or saved arrays."""
    hidden = name == "attention_backward" and (args[6] or args[7] is not None)
    names = {"attention": ("q",), "attention_backward": () if hidden else ("dy", "q")}
    names |= {"attention_ranges": ("q",), "attention_ranges_backward": ()}
    if name.endswith("_block"):
        return []
    return [i for i, (argument, value) in enumerate(zip(parameters(name), args, strict=False))
            if argument in names.get(name, (argument,)) and is_float32(value) and value.size]


@pytest.mark.parametrize("name, backend", [way for way in WAYS if way[0] not in RANKS_NAN])
@settings(max_examples=8)
@given(data=st.data())
def test_nan_comes_out_where_it_does_in_the_specification(name, backend, data):
    """An op that hid NaN would hide a run that diverges."""
    args = data.draw(CASES[name])
    arrays = poisonable(name, args)
    if arrays:
        i = data.draw(st.sampled_from(arrays))
        args = (*args[:i], np.array(args[i]), *args[i + 1:])
        args[i].flat[data.draw(st.integers(0, args[i].size - 1))] = np.nan
    check(name, OPS[name].checked(backend), args)


def rounded(args):
    return tuple(round_bf16.reference(a) if is_float32(a) else a for a in args)


@given(args=CASES["matmul"])
def test_bf16_rounds_both_factors_of_a_product(args):
    """Rounding the factors first changes no bit; for bfloat16 factors, the error bound of float32 holds."""
    with ops.use(matmul="bf16"):
        assert bits(ops.matmul(*args)) == bits(ops.matmul(*rounded(args)))
    check("matmul", ops.matmul.checked("bf16"), rounded(args))


def operands(kind, depth):
    """Draw two matrices whose product is difficult to sum."""
    random = Random(kind, depth)
    a, b, half = random.normal((30, depth)), random.normal((depth, 33)), depth // 2
    if kind == "scaled":  # times powers of 2 from 2**-60 to 2**59
        a, b = (x * np.exp2(random.integers(120, x.shape) - 60) for x in (a, b))
    if kind == "cancelling":  # the two halves of the terms nearly cancel
        a[:, half : 2 * half] = -a[:, :half] * (1 + 1e-6 * random.normal((30, half)))
        b[half : 2 * half] = b[:half]
    for x in (a, b) if kind == "special" else ():
        x.flat[random.integers(x.size, 4)] = np.nan, np.inf, -np.inf, 1e-45
    return [np.asarray(x, np.float32) for x in (a, b)]


@pytest.mark.skipif(registry._compiled is None, reason="the kernels are not built")
@pytest.mark.parametrize("kind", ["scaled", "cancelling", "special"])
@pytest.mark.parametrize("depth", [1, 7, 384, 385, 800])  # a block of matmul.c has 384 terms
def test_products_of_difficult_numbers_keep_their_bound_at_every_level(kind, depth):
    a, b = operands(kind, depth)
    for level in registry._compiled.levels():
        registry._compiled.use_level(level)
        for rows in (a, a[:5]):  # few rows take another path
            check("linear", ops.linear.checked("compiled"), (rows, b, b[0]))
            check("matmul", ops.matmul.checked("bf16"), rounded((rows, b.T.copy(), False, True)))
    registry._compiled.use_level(None)


@pytest.mark.parametrize("name", [name for name, o in OPS.items() if o.follows])
@given(data=st.data())
def test_in_bf16_an_op_is_its_specification_with_products_in_bf16(name, data):
    """Biases, their gradients and losses are sums, not products, and stay float32."""
    args = data.draw(CASES[name])
    with ops.use(matmul="bf16"), np.errstate(all="ignore"):
        got, want = (as_tuple(run(*args)) for run in (OPS[name], OPS[name].reference))
    with specs_only():
        bounds = BOUNDS[name]([widen(value) for value in args], [widen(value) for value in want])
    for y, z, bound in zip(got, want, bounds, strict=False):  # no bias: no gradient of it
        assert np.all(np.abs(y.astype(np.float64) - z) <= 2 * bound) or np.array_equal(y, z, equal_nan=True)


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


def test_an_induction_score_of_one_by_hand():
    """Of a b a b a the queries 2, 3 and 4 know a time before; keys 1, 2 and both 1 and 3 followed it."""
    weights = np.arange(25, dtype=np.float32).reshape(5, 5)
    assert ops.induction_score(weights, 2) == (11 + 17 + 21 + 23) / 3


ONE, TRUE = np.float32([1]), np.array([True])
NO_ANSWER = [  # op, arguments, words of the message
    *(("scaled_rope_tables", (np.arange(3), 8, 1e4, scaling), words) for scaling, words in (
        ({"rope_type": "dynamic", "factor": 2.0}, "choose one of linear, ntk, llama3, yarn"),
        ({"rope_type": "llama3", "factor": 8.0}, "lacks rope_scaling.high_freq_factor"),
        ({"rope_type": "linear", "factor": 2.0, "mscale": 1.0}, "does not know 'mscale'"),
        ({"rope_type": "linear", "factor": -8.0}, "-8.0 as rope_scaling.factor, where a number, above 0"))),
    ("split", (np.zeros((2, 0), np.float32), 2**40), "cannot cut the last axis"),  # once took all memory
    *(("sample", (np.float32([[0.5, 0.5], bad]), np.zeros(2)), "positive, finite")
      for bad in ([0, 0], [np.nan, 1], [np.inf, 0])),
    *((name, args, f"{name} needs") for name, args in (
        ("brier_score", (1.1 * ONE, TRUE)), ("brier_score", (ONE[:0], TRUE[:0])),
        ("expected_calibration_error", (np.nan * ONE, TRUE)), ("expected_calibration_error", (ONE, TRUE, 0)),
        ("wilson_interval", (3, 2)), ("wilson_interval", (1, 2, 95)), ("bm25_scores", ([["a"]], ["a"], -1)),
        ("bootstrap_interval", (ONE, np.zeros((0, 1), int))), ("bradley_terry_step", (ONE[:, None], -ONE)),
        ("split_middle", ("abc", (0.5,))), ("split_middle", ("abc", (0.5, 1.0))), ("pass_at_k", ([1], 5, 6)),
        ("pass_at_k", ([6], 5, 1)), ("pass_at_k", ([], 5, 1)), ("trim_sides", ([1], [2], -1)),
        ("move_middle", ([], [], [], (1, 2, 3), False)), ("induction_score", (ONE[:, None], 0)))),
]


@pytest.mark.parametrize("name, args, words", NO_ANSWER)
def test_what_has_no_answer_is_refused(name, args, words):
    for backend in OPS[name].implementations:
        with pytest.raises(ValueError, match=words):
            OPS[name].checked(backend)(*args)
